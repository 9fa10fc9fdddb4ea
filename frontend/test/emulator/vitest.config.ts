import { defineConfig } from 'vitest/config';
import { HANGS_MS } from '../hangs.js';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    globalSetup: 'deployment.ts',
    include: ['*.test.ts'],
    testTimeout: HANGS_MS,
    hookTimeout: HANGS_MS,
    // all of them play the same people
    fileParallelism: false,
    // Node 20 has the WebSocket of browsers behind a flag
    execArgv: ['--experimental-websocket'],
    silent: 'passed-only',
  },
});
