import { defineConfig } from 'vitest/config';

// npm sets it to production where the user's npm leaves out what is for development
process.env['NODE_ENV'] = 'test';

export default defineConfig({ test: { include: ['test/*.test.{ts,tsx}'], testTimeout: 300_000, silent: 'passed-only' } });
