import { defineConfig } from '@playwright/test';

const isCI = Boolean(process.env['CI']);

// One worker: the emulator is one process, and each `hourbank up` is started once (tests/bank.ts).
export default defineConfig({
  testDir: 'tests',
  outputDir: '../test-results',
  workers: 1,
  forbidOnly: isCI,
  // only what hangs takes so long: a step may be slow where the machine has time for nothing, and a test has many
  timeout: 1_800_000,
  expect: { timeout: 300_000 },
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
