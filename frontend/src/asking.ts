import { HourBankError } from './errors.js';
import type { NewRequest } from './hourbank.js';

/**
 * A form's way to ask: its id is the same until the request is there, so that asking again after a lost answer, even
 * with other hours, asks once.
 */
export class Asking {
  #id = crypto.randomUUID() as string;

  /** Resolves to the id of the request that is there now. */
  async ask(request: Omit<NewRequest, 'id'>, submit: (request: NewRequest) => Promise<string>): Promise<string> {
    const id = this.#id;
    try {
      await submit({ ...request, id });
    } catch (error) {
      // what was asked before, with other hours, did arrive: that is the request now
      if (!(error instanceof HourBankError && error.kind === 'Conflict')) throw error;
    }
    this.#id = crypto.randomUUID();
    return id;
  }
}
