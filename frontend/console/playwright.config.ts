import { defineConfig } from '@playwright/test';
import { HANGS_MS, STEP_HANGS_MS } from '../test/hangs.js';

const isCI = Boolean(process.env['CI']);

// One worker: the emulator is one process, and each `hourbank up` is started once (tests/bank.ts).
export default defineConfig({
  testDir: 'tests',
  outputDir: '../test-results',
  workers: 1,
  forbidOnly: isCI,
  timeout: HANGS_MS,
  expect: { timeout: STEP_HANGS_MS },
  reporter: 'list',
  use: {
    launchOptions: {
      executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    },
    viewport: { width: 1280, height: 800 },
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
  },
});
