import { vi } from 'vitest';
import { STEP_HANGS_MS } from './hangs.js';

/** Waits until the check passes. */
export const eventually = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: STEP_HANGS_MS, interval: 10 });
