import { ChangeDetectionStrategy, Component, computed, effect, inject, input, model, signal } from '@angular/core';
import { HourBankError, parseHours, stepsOf, type Act, type RequestState } from '../src/index.js';
import { StepFunctionsService } from './step-functions.service.js';

/**
 * One service request: the form that asks for it, then how it stands and what the signed-in person can do.
 *
 *     <hourbank-service-request [serviceId]="service.id" [providerId]="service.providerId" [(requestId)]="requestId" />
 *
 * It has no style of its own: steps have the classes `done`, `current` and `ahead`.
 */
@Component({
  selector: 'hourbank-service-request',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    @if (requestId() === undefined) {
      <form (submit)="$event.preventDefault(); submit(hours)">
        <label>
          Hours
          <input
            #hours
            type="text"
            inputmode="decimal"
            autocomplete="off"
            required
            [attr.aria-invalid]="areHoursWrong()"
            [attr.aria-describedby]="areHoursWrong() ? problemId : null"
            (input)="forgive()"
          />
        </label>
        <button type="submit" [disabled]="busy()">Request the service</button>
      </form>
    } @else {
      @if (request(); as request) {
        <ol aria-label="Progress of the request">
          @for (step of steps(); track step.status) {
            <li [class]="step.state" [attr.aria-current]="step.state === 'current' ? 'step' : null">
              {{ step.label }}
            </li>
          }
        </ol>
        <dl>
          <dt>Hours</dt>
          <dd>{{ request.estimatedHours }}</dd>
          @if (request.offeredHours !== null) {
            <dt>Counter-offer</dt>
            <dd>{{ request.offeredHours }}</dd>
          }
          @if (request.failureReason !== null) {
            <dt>Reason</dt>
            <dd>{{ request.failureReason }}</dd>
          }
        </dl>
        @for (act of acts(); track act) {
          @if (act === 'counterOffer') {
            <form (submit)="$event.preventDefault(); offer(other)">
              <label>
                Other hours
                <input
                  #other
                  type="text"
                  inputmode="decimal"
                  autocomplete="off"
                  required
                  [attr.aria-invalid]="areHoursWrong()"
                  [attr.aria-describedby]="areHoursWrong() ? problemId : null"
                  (input)="forgive()"
                />
              </label>
              <button type="submit" [disabled]="busy()">Make a counter-offer</button>
            </form>
          } @else {
            <button type="button" [disabled]="busy()" (click)="say(act)">{{ labels[act] }}</button>
          }
        }
      }
    }
    <!-- always there, because a live region tells changes only -->
    <p role="status">{{ status() }}</p>
    <p role="alert" [id]="problemId">{{ problem() }}</p>
    @if (stopped()) {
      <button type="button" (click)="again()">Try again</button>
    }
  `,
})
export class ServiceRequestComponent {
  /** The service that the form asks for, and who gives it: the `sub` of a user. */
  readonly serviceId = input('');
  readonly providerId = input('');
  /** How long the provider has to answer, in seconds. Default: the stack's. */
  readonly timeoutSeconds = input<number>();
  /** The request to show; undefined shows the form, which sets it. */
  readonly requestId = model<string>();

  protected readonly labels: Record<Exclude<Act, 'counterOffer'>, string> = {
    accept: 'Accept',
    decline: 'Decline',
    withdraw: 'Give up the service',
    cancel: 'Cancel the request',
    acceptOffer: 'Accept the counter-offer',
    rejectOffer: 'Decline the counter-offer',
    confirm: 'Confirm that the service was received',
  };
  protected readonly busy = signal(false);
  protected readonly problem = signal('');
  protected readonly problemId = `hourbank-problem-${crypto.randomUUID()}`;
  /** Whether the problem is what stands in the field of hours. */
  protected readonly areHoursWrong = signal(false);
  /** Whether watching has failed and goes on only when somebody asks. */
  protected readonly stopped = signal(false);
  protected readonly request = computed(() => this.#state()?.request);
  protected readonly acts = computed(() => this.#state()?.acts ?? []);
  protected readonly steps = computed(() => {
    const request = this.request();
    return request ? stepsOf(request) : [];
  });
  protected readonly status = computed(() => {
    if (this.requestId() === undefined || this.stopped()) return '';
    const trouble = this.#state()?.trouble;
    if (trouble) return trouble.message;
    return this.steps().find(({ state }) => state === 'current')?.label ?? 'Loading the request';
  });

  readonly #service = inject(StepFunctionsService);
  readonly #state = signal<RequestState | undefined>(undefined);
  readonly #attempt = signal(0);
  /** The id that was asked with: asking again after a lost answer must not ask twice. */
  #newId = crypto.randomUUID();

  constructor() {
    effect((onCleanup) => {
      const requestId = this.requestId();
      this.#attempt();
      const stop = new AbortController();
      onCleanup(() => stop.abort());
      this.#state.set(undefined);
      this.stopped.set(false);
      this.problem.set('');
      this.areHoursWrong.set(false);
      if (requestId !== undefined) void this.#follow(requestId, stop.signal);
    });
  }

  protected submit(field: HTMLInputElement): Promise<void> {
    return this.#try(async () => {
      const hours = this.#hoursIn(field);
      const id = this.#newId;
      try {
        await this.#service.startServiceRequestWorkflow({
          id,
          serviceId: this.serviceId(),
          providerId: this.providerId(),
          hours,
          timeoutSeconds: this.timeoutSeconds(),
        });
      } catch (error) {
        // what was asked before, with other hours, did arrive: that is the request now
        if (!(error instanceof HourBankError && error.kind === 'Conflict')) throw error;
      }
      this.#newId = crypto.randomUUID();
      this.requestId.set(id);
    });
  }

  protected say(act: Exclude<Act, 'counterOffer'>): Promise<void> {
    return this.#try((requestId) => {
      switch (act) {
        case 'accept':
        case 'decline':
        case 'withdraw':
          return this.#service.answer(requestId, act);
        default:
          return this.#service.respond(requestId, act);
      }
    });
  }

  protected offer(field: HTMLInputElement): Promise<void> {
    return this.#try(async (requestId) => {
      await this.#service.answer(requestId, { counterOffer: this.#hoursIn(field) });
    });
  }

  /** Takes back what was said of the hours, as they are being corrected. */
  protected forgive(): void {
    if (this.areHoursWrong()) this.problem.set('');
    this.areHoursWrong.set(false);
  }

  protected again(): void {
    this.#attempt.update((attempt) => attempt + 1);
  }

  async #follow(requestId: string, signal: AbortSignal): Promise<void> {
    try {
      for await (const state of this.#service.watch(requestId, { signal })) {
        if (!signal.aborted) this.#state.set(state);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.stopped.set(true);
      this.#tell(error);
    }
  }

  #hoursIn(field: HTMLInputElement): number {
    try {
      return parseHours(field.value);
    } catch (error) {
      this.areHoursWrong.set(true);
      field.focus();
      throw error;
    }
  }

  async #try(action: (requestId: string) => Promise<void>): Promise<void> {
    if (this.busy()) return;
    this.busy.set(true);
    this.problem.set('');
    this.areHoursWrong.set(false);
    try {
      await action(this.requestId() ?? '');
    } catch (error) {
      this.#tell(error);
    } finally {
      this.busy.set(false);
    }
  }

  #tell(error: unknown): void {
    // anything else is a mistake in the program, for the app's ErrorHandler
    if (!(error instanceof HourBankError)) throw error;
    this.problem.set(error.message);
  }
}
