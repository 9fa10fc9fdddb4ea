import { defineConfig } from 'vitest/config';
import { STEP_HANGS_MS } from './test/hangs.js';

// npm sets it to production where the user's npm leaves out what is for development
process.env['NODE_ENV'] = 'test';

export default defineConfig({
  test: {
    include: ['test/*.test.{ts,tsx}'],
    testTimeout: STEP_HANGS_MS,
    hookTimeout: STEP_HANGS_MS,
    silent: 'passed-only',
  },
});
