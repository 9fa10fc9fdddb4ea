import { defineConfig } from 'vite';

// for `npm run dev:console`: the address that `hourbank up` printed
const server = process.env['HOURBANK_CONSOLE'] ?? 'http://127.0.0.1:4800';
const proxy = Object.fromEntries(['/graphql', '/local'].map((path) => [path, { target: server, changeOrigin: true }]));

export default defineConfig({
  base: './',
  server: { proxy },
  build: { target: 'es2022' },
});
