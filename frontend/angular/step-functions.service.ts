import { ErrorHandler, inject, Injectable, InjectionToken } from '@angular/core';
import { createHourBank, type HourBank, type NewRequest } from '../src/index.js';

/** What the service speaks with; provide one of your own to set its options. */
export const HOURBANK = new InjectionToken<HourBank>('HOURBANK', {
  providedIn: 'root',
  factory: () => createHourBank(),
});

/** `createDirect()` of `hourbank-frontend/direct` is one. */
export interface WorkflowStarter {
  start(requestId: string): Promise<string>;
}

/** Only for apps that start executions from the browser; without it the table's stream alone does. */
export const WORKFLOW_STARTER = new InjectionToken<WorkflowStarter | null>('WORKFLOW_STARTER', {
  providedIn: 'root',
  factory: () => null,
});

/** Service requests and their workflows, for an Angular app. */
@Injectable({ providedIn: 'root' })
export class StepFunctionsService {
  readonly #hourBank = inject(HOURBANK);
  readonly #starter = inject(WORKFLOW_STARTER);
  readonly #errors = inject(ErrorHandler);

  /** Stores the request, which starts its workflow. Resolves to the request's id, rejects with a HourBankError. */
  async startServiceRequestWorkflow(request: NewRequest): Promise<string> {
    const requestId = await this.#hourBank.submitRequest(request);
    // the request is there and the stream starts it too: nobody has to do anything about a failure here
    this.#starter?.start(requestId).catch((error: unknown) => this.#errors.handleError(error));
    return requestId;
  }

  readonly watch: HourBank['watch'] = this.#hourBank.watch;
  readonly answer: HourBank['answer'] = this.#hourBank.answer;
  readonly respond: HourBank['respond'] = this.#hourBank.respond;
  readonly say: HourBank['say'] = this.#hourBank.say;
  readonly requests: HourBank['requests'] = this.#hourBank.requests;
  readonly watchRequests: HourBank['watchRequests'] = this.#hourBank.watchRequests;
  readonly balance: HourBank['balance'] = this.#hourBank.balance;
  readonly watchBalance: HourBank['watchBalance'] = this.#hourBank.watchBalance;
  readonly refresh: HourBank['refresh'] = this.#hourBank.refresh;
}
