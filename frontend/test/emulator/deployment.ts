import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { HANGS_MS } from '../hangs.js';

const PROJECT = join(import.meta.dirname, '../../..');

/** Of the file that `hourbank up` writes. */
export interface Deployment {
  /** The stand-in's address, and of the emulator of AWS. */
  readonly console: string;
  readonly deployment: {
    readonly endpoint: string;
    readonly outputs: { readonly serviceRequestWorkflowArn: string };
    readonly credentials: readonly [string, string];
  };
}
declare module 'vitest' {
  interface ProvidedContext {
    deployment: Deployment;
  }
}

/** `hourbank up` of its own, for as long as the tests run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const state = mkdtempSync(join(tmpdir(), 'hourbank-frontend-'));
  const up = spawn(join(PROJECT, '.venv/bin/hourbank'), ['up'], {
    cwd: PROJECT,
    env: { ...process.env, HOURBANK_STATE: state },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  up.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  up.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<void>((resolve) => up.once('close', () => resolve()));
  const deadline = Date.now() + HANGS_MS;
  for (;;) {
    try {
      project.provide('deployment', JSON.parse(readFileSync(join(state, 'up.json'), 'utf8')) as Deployment);
      break;
    } catch {
      if (up.exitCode !== null || Date.now() > deadline) {
        up.kill();
        throw new Error(`hourbank up did not come up:\n${said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return async () => {
    up.kill('SIGTERM');
    await ended;
    rmSync(state, { recursive: true });
  };
}
