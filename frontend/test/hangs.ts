// What takes longer hangs: a machine may have time for nothing, and a slow step is no fault.
/** What one thing that is waited for may take, or a test of functions alone. */
export const STEP_HANGS_MS = 300_000;
/** What a whole test may take, or what starts a deployment for it. */
export const HANGS_MS = 1_800_000;
