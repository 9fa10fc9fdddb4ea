import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  model,
  signal,
} from '@angular/core';
import { Asking } from '../src/asking.js';
import { keepFocus } from '../src/focus.js';
import { HourBankError, parseHours, stepsOf, type Act, type RequestState } from '../src/index.js';
import { ACT_LABELS, askedRows, itself, rowsOf, statusOf, type Naming } from '../src/words.js';
import { StepFunctionsService } from './step-functions.service.js';

/**
 * One service request: the form that asks for it, then how it stands and what the signed-in person can do.
 *
 *     <hourbank-service-request [serviceId]="service.id" [providerId]="service.providerId" [(requestId)]="requestId" />
 *
 * It has no style of its own: `hourbank-frontend/hourbank.css` is one to import or to copy.
 */
@Component({
  selector: 'hourbank-service-request',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'hourbank', tabindex: '-1' },
  template: `
    @if (requestId() === undefined) {
      <dl>
        @for (row of asked(); track row[0]) {
          <div>
            <dt>{{ row[0] }}</dt>
            <dd>{{ row[1] }}</dd>
          </div>
        }
      </dl>
      <form novalidate (submit)="$event.preventDefault(); submit(hours)">
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
        <button type="submit" data-act="ask" [disabled]="busy()">Request the service</button>
      </form>
    } @else {
      @if (request()) {
        <ol aria-label="Progress of the request">
          @for (step of steps(); track step.status) {
            <li [class]="step.state" [attr.aria-current]="step.state === 'current' ? 'step' : null">
              {{ step.label }}
            </li>
          }
        </ol>
        <dl>
          @for (row of rows(); track row[0]) {
            <div>
              <dt>{{ row[0] }}</dt>
              <dd>{{ row[1] }}</dd>
            </div>
          }
        </dl>
        @for (act of acts(); track act) {
          @if (act === 'counterOffer') {
            <form novalidate (submit)="$event.preventDefault(); offer(other)">
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
              <button type="submit" [attr.data-act]="act" [disabled]="busy()">{{ labels[act] }}</button>
            </form>
          } @else {
            <button type="button" [attr.data-act]="act" [disabled]="busy()" (click)="say(act)">{{ labels[act] }}</button>
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
  /** Names for the app's ids, shown beside the hours. Default: a service's id, and no people. */
  readonly serviceName = input<Naming>(itself);
  readonly personName = input<Naming>();
  /** The request to show; undefined shows the form, which sets it. */
  readonly requestId = model<string>();

  protected readonly labels = ACT_LABELS;
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
  protected readonly asked = computed(() =>
    askedRows(this.serviceId(), this.providerId(), this.serviceName(), this.personName()),
  );
  protected readonly rows = computed(() => {
    const { request, role } = this.#state() ?? {};
    return request ? rowsOf(request, { role }, this.serviceName(), this.personName()) : [];
  });
  protected readonly status = computed(() =>
    this.requestId() === undefined || this.stopped() ? '' : statusOf(this.#state()),
  );

  readonly #service = inject(StepFunctionsService);
  readonly #state = signal<RequestState | undefined>(undefined);
  readonly #attempt = signal(0);
  readonly #asking = new Asking();
  readonly #host = inject<ElementRef<HTMLElement>>(ElementRef);

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
      const request = {
        serviceId: this.serviceId(),
        providerId: this.providerId(),
        hours: this.#hoursIn(field),
        timeoutSeconds: this.timeoutSeconds(),
      };
      this.requestId.set(
        await this.#asking.ask(request, (complete) => this.#service.startServiceRequestWorkflow(complete)),
      );
    });
  }

  protected say(act: Act): Promise<void> {
    return this.#try((requestId) => this.#service.say(requestId, act));
  }

  protected offer(field: HTMLInputElement): Promise<void> {
    return this.#try(async (requestId) => this.#service.say(requestId, 'counterOffer', this.#hoursIn(field)));
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
      keepFocus(this.#host.nativeElement);
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
