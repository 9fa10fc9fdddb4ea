import { Fragment, useCallback, useId, useRef, useState, type ReactElement } from 'react';
import { Asking } from '../src/asking.js';
import { keepFocus } from '../src/focus.js';
import { HourBankError, parseHours, stepsOf, type Act, type RequestState } from '../src/index.js';
import { ACT_LABELS, askedRows, itself, rowsOf, statusOf, type Naming, type Row } from '../src/words.js';
import { useHourBank, useRequest } from './hooks.js';

export interface Names {
  /** Default: the id itself. */
  readonly serviceName?: Naming | undefined;
  /** By the `sub` of a user. Default: people are not shown. */
  readonly personName?: Naming | undefined;
}

export interface AskProps extends Names {
  readonly serviceId: string;
  /** The `sub` of the user who gives the service. */
  readonly providerId: string;
  /** How long the provider has to answer, in seconds. Default: the stack's. */
  readonly timeoutSeconds?: number | undefined;
  /** The request is there. */
  readonly onAsked?: ((requestId: string) => void) | undefined;
}

export interface RequestProps extends Names {
  readonly requestId: string;
}

/** A form that asks for a service. */
export function AskForService(props: AskProps): ReactElement {
  const deed = useDeed();
  return (
    <section className="hourbank" ref={deed.hold} tabIndex={-1}>
      <AskForm {...props} deed={deed} />
      <Problem deed={deed} />
    </section>
  );
}

/** How a request stands: its steps, what it is about, and what is wrong with reading it. */
export function FollowRequest({ requestId, ...names }: RequestProps): ReactElement {
  const watched = useRequest(requestId);
  const deed = useDeed(requestId);
  return (
    <section className="hourbank" ref={deed.hold} tabIndex={-1}>
      <Progress watched={watched} {...names} />
      <p role="status">{watched.error ? '' : statusOf(known(watched))}</p>
      <Problem deed={deed} watched={watched} />
    </section>
  );
}

/** What the signed-in person can do with a request now. */
export function AnswerRequest({ requestId }: RequestProps): ReactElement {
  const watched = useRequest(requestId);
  const deed = useDeed(requestId);
  return (
    <section className="hourbank" ref={deed.hold} tabIndex={-1}>
      <Acts watched={watched} deed={deed} />
      <Problem deed={deed} watched={watched} />
    </section>
  );
}

/** All three in one, as Angular's component: the form, then the request that it asked, and what one can do with it. */
export function ServiceRequest({
  requestId,
  onRequestId,
  ...ask
}: Omit<AskProps, 'onAsked'> & {
  /** The request to show; undefined shows the form. */
  readonly requestId?: string | undefined;
  /** The form has made this request: show it. */
  readonly onRequestId?: ((requestId: string) => void) | undefined;
}): ReactElement {
  const watched = useRequest(requestId);
  const deed = useDeed(requestId);
  return (
    <section className="hourbank" ref={deed.hold} tabIndex={-1}>
      {requestId === undefined ? (
        <AskForm {...ask} onAsked={onRequestId} deed={deed} />
      ) : (
        <Fragment key={requestId}>
          <Progress watched={watched} {...ask} />
          <Acts watched={watched} deed={deed} />
        </Fragment>
      )}
      {/* always there, because a live region tells changes only */}
      <p role="status">{requestId === undefined || watched.error ? '' : statusOf(known(watched))}</p>
      <Problem deed={deed} watched={watched} />
    </section>
  );
}

type Watched = ReturnType<typeof useRequest>;

const known = (watched: Watched): RequestState | undefined =>
  'acts' in watched ? (watched as Watched & RequestState) : undefined;

function AskForm({
  serviceId,
  providerId,
  timeoutSeconds,
  onAsked,
  serviceName = itself,
  personName,
  deed,
}: AskProps & { readonly deed: Deed }): ReactElement {
  const hourBank = useHourBank();
  const [asking] = useState(() => new Asking());
  return (
    <>
      <Rows rows={askedRows(serviceId, providerId, serviceName, personName)} />
      <HoursForm
        act="ask"
        label="Hours"
        button="Request the service"
        deed={deed}
        onHours={async (hours) => {
          const request = { serviceId, providerId, hours, timeoutSeconds };
          onAsked?.(await asking.ask(request, hourBank.submitRequest));
        }}
      />
    </>
  );
}

function Progress({ watched, serviceName = itself, personName }: { readonly watched: Watched } & Names): ReactElement | null {
  const { request, role } = watched;
  if (!request) return null;
  return (
    <>
      <ol aria-label="Progress of the request">
        {stepsOf(request).map(({ status, label, state }) => (
          <li key={status} className={state} aria-current={state === 'current' ? 'step' : undefined}>
            {label}
          </li>
        ))}
      </ol>
      <Rows rows={rowsOf(request, { role }, serviceName, personName)} />
    </>
  );
}

function Rows({ rows }: { readonly rows: readonly Row[] }): ReactElement {
  return (
    <dl>
      {rows.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Acts({ watched, deed }: { readonly watched: Watched; readonly deed: Deed }): ReactElement {
  const { acts = [], say } = watched;
  return (
    <>
      {acts.map((act: Act) =>
        act === 'counterOffer' ? (
          <HoursForm
            key={act}
            act={act}
            label="Other hours"
            button={ACT_LABELS[act]}
            deed={deed}
            onHours={(hours) => say(act, hours)}
          />
        ) : (
          <button key={act} type="button" data-act={act} disabled={deed.isBusy} onClick={() => deed.begin(() => say(act))}>
            {ACT_LABELS[act]}
          </button>
        ),
      )}
    </>
  );
}

/** A field for hours as people type them, and its button. */
function HoursForm({
  act,
  label,
  button,
  deed,
  onHours,
}: {
  readonly act: Act | 'ask';
  readonly label: string;
  readonly button: string;
  readonly deed: Deed;
  readonly onHours: (hours: number) => Promise<void>;
}): ReactElement {
  const field = useRef<HTMLInputElement>(null);
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        deed.begin(async () => onHours(hoursIn(field.current!, deed)));
      }}
    >
      <label>
        {label}
        <input
          ref={field}
          // not a number: a field for numbers reads by the browser's language
          type="text"
          inputMode="decimal"
          autoComplete="off"
          required
          aria-invalid={deed.areHoursWrong}
          aria-describedby={deed.areHoursWrong ? deed.problemId : undefined}
          onInput={deed.forgive}
        />
      </label>
      <button type="submit" data-act={act} disabled={deed.isBusy}>
        {button}
      </button>
    </form>
  );
}

function hoursIn(field: HTMLInputElement, deed: Deed): number {
  try {
    return parseHours(field.value);
  } catch (error) {
    deed.blameHours();
    field.focus();
    throw error;
  }
}

function Problem({ deed, watched }: { readonly deed: Deed; readonly watched?: Watched }): ReactElement {
  return (
    <>
      <p role="alert" id={deed.problemId}>
        {watched?.error?.message ?? deed.problem}
      </p>
      {watched?.error && (
        <button type="button" onClick={watched.again}>
          Try again
        </button>
      )}
    </>
  );
}

/** What somebody does with a component, one thing at a time, and what went wrong with it. */
interface Deed {
  /** Of the outermost element. */
  readonly hold: (root: HTMLElement | null) => void;
  readonly problemId: string;
  readonly isBusy: boolean;
  readonly problem: string;
  /** Whether the problem is what stands in the field of hours. */
  readonly areHoursWrong: boolean;
  readonly begin: (action: () => Promise<void>) => void;
  readonly blameHours: () => void;
  /** Takes back what was said of the hours, as they are being corrected. */
  readonly forgive: () => void;
}

function useDeed(requestId?: string): Deed {
  const root = useRef<HTMLElement | null>(null);
  const hold = useCallback((element: HTMLElement | null) => void (root.current = element), []);
  const problemId = useId();
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const [areHoursWrong, setHoursWrong] = useState(false);
  const [, setBug] = useState();
  const busy = useRef(false);
  const [about, setAbout] = useState(requestId);
  // what went wrong with another request is over
  if (about !== requestId) {
    setAbout(requestId);
    setProblem('');
    setHoursWrong(false);
  }

  async function run(action: () => Promise<void>): Promise<void> {
    if (busy.current) return;
    busy.current = true;
    setBusy(true);
    setProblem('');
    setHoursWrong(false);
    try {
      await action();
      keepFocus(root.current);
    } catch (error) {
      if (error instanceof HourBankError) setProblem(error.message);
      // a mistake in the program, for the app's error boundary
      else
        setBug(() => {
          throw error;
        });
    }
    busy.current = false;
    setBusy(false);
  }

  return {
    hold,
    problemId,
    isBusy,
    problem,
    areHoursWrong,
    begin: (action) => void run(action),
    blameHours: () => setHoursWrong(true),
    forgive: () => {
      if (areHoursWrong) setProblem('');
      setHoursWrong(false);
    },
  };
}
