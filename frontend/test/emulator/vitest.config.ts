import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    globalSetup: 'deployment.ts',
    include: ['*.test.ts'],
    testTimeout: 60_000,
    // all of them play the same people
    fileParallelism: false,
    // Node 20 has the WebSocket of browsers behind a flag
    execArgv: ['--experimental-websocket'],
    silent: 'passed-only',
  },
});
