import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    globalSetup: 'deployment.ts',
    include: ['*.test.ts'],
    testTimeout: 60_000,
    silent: 'passed-only',
  },
});
