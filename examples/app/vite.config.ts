import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vite';

export default defineConfig(({ mode }) => ({
  build: { target: 'es2022' },
  server: { host: '127.0.0.1', ...(mode === 'emulator' && { proxy: proxy(localRun()) }) },
}));

/** Where `make up` is: it says so in a file. */
function localRun(): string {
  const folder = process.env['HOURBANK_STATE'] ?? join(import.meta.dirname, '../../.hourbank');
  try {
    return JSON.parse(readFileSync(join(folder, 'up.json'), 'utf8')).console;
  } catch {
    return 'http://127.0.0.1:4800';
  }
}

const proxy = (target: string) => ({
  '/local': { target, changeOrigin: true },
  '/graphql': { target, changeOrigin: true, ws: true },
});
