import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';

import { possibleActs, roleOf, type Act, type ServiceRequest } from '../../src';
import { HOURS_FIELD, hoursIn } from './hours-field';
import { effect, hours, inHundredths, label, story, timeLeft, type Scene } from './words';

interface Props {
  request: ServiceRequest;
  me: string;
  name: (userId: string) => string;
  /** Hours of its escrow; null where there is none. */
  held: number | null;
  available: number;
  /** Until when somebody can answer, where the workflow waits. */
  deadline: string | null;
  /** How far the server's clock is ahead. */
  aheadMs: number;
  isShown: boolean;
  onShow: () => void;
  onBecome: (userId: string) => void;
  /** Does it; rejects with what to tell the person. */
  onAct: (act: Act, offer?: number) => Promise<void>;
}

/** One request as one person sees it: what happened, whose turn it is, and what this person can do now. */
export function Request(props: Props): JSX.Element {
  const { request, me, name, held, available, deadline, aheadMs, isShown, onShow, onBecome, onAct } = props;
  const role = roleOf(request, me);
  const isMine = role === 'requester';
  const scene: Scene = { requester: name(request.requesterId), provider: name(request.providerId), held, available };
  const told = story(request, me, scene);
  const other = isMine ? request.providerId : request.requesterId;
  const acts = possibleActs(request, me);
  const heading = useRef<HTMLHeadingElement>(null);
  const titleId = `request-${request.id}`;
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState('');

  const show = (): void => {
    onShow();
    // the button that has the focus is about to go, and the card may move
    requestAnimationFrame(() => {
      document.getElementById(titleId)?.focus();
      // where the workflows are not beside the requests but below them
      if (matchMedia('(width < 62rem)').matches) document.getElementById('workflows-title')?.scrollIntoView();
    });
  };
  const act = async (what: Act, offer?: number): Promise<void> => {
    setSending(true);
    setProblem('');
    // the button that has the focus is about to go
    heading.current?.focus();
    try {
      await onAct(what, offer);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setSending(false);
  };

  return (
    <article class={`request ${isShown ? 'shown' : ''}`} aria-labelledby={titleId}>
      <header>
        <h3 id={titleId} ref={heading} tabIndex={-1}>
          {request.serviceId}
          <span class="quiet">
            {isMine ? `You ask ${scene.provider}` : `${scene.requester} asks you`}, {hours(request.estimatedHours)}
          </span>
        </h3>
        <span class={`badge ${told.tone}`}>
          <span aria-hidden="true">{told.sign}</span> {told.label}
        </span>
      </header>
      <p>
        {told.sentence}
        {deadline && told.turn && <TimeLeft until={Date.parse(deadline) - aheadMs} />}
      </p>
      {acts.length > 0 && !isSending && (
        <ul class="acts" aria-label="What you can do now">
          {acts.map((one) => (
            <li key={one}>
              <Choice act={one} words={effect(one, request, scene)} onAct={act} request={request} />
            </li>
          ))}
        </ul>
      )}
      {isSending && <p class="quiet">Sending…</p>}
      {!isSending && told.turn === role && acts.length === 0 && (
        <p class="quiet">Your answer is stored; the workflow goes on in a moment.</p>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <footer>
        {told.turn && told.turn !== role && (
          <button type="button" class="link" onClick={() => onBecome(other)}>
            Go on as {name(other)}
          </button>
        )}
        {!isShown && (
          <button type="button" class="link" aria-describedby={titleId} onClick={show}>
            Show its workflow
          </button>
        )}
      </footer>
    </article>
  );
}

function Choice({
  act,
  words,
  onAct,
  request,
}: {
  act: Act;
  words: string;
  onAct: (act: Act, offer?: number) => Promise<void>;
  request: ServiceRequest;
}): JSX.Element {
  const [offer, setOffer] = useState('');
  const [problem, setProblem] = useState('');
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  if (act !== 'counterOffer') {
    return (
      <>
        <button type="button" class={act} aria-describedby={id} onClick={() => void onAct(act)}>
          {label(act)}
        </button>
        <p id={id}>{words}</p>
      </>
    );
  }
  const submit = (event: Event): void => {
    event.preventDefault();
    const wanted = hoursIn(offer);
    if (wanted instanceof Error) {
      setProblem(wanted.message);
      field.current?.focus();
    } else {
      void onAct(act, wanted);
    }
  };
  return (
    <form class="offer" onSubmit={submit}>
      <label for={`${id}-hours`}>Or for other hours</label>
      <input
        id={`${id}-hours`}
        ref={field}
        {...HOURS_FIELD}
        placeholder={String(inHundredths(request.estimatedHours + 1) / 100)}
        value={offer}
        aria-invalid={problem !== ''}
        aria-describedby={problem ? `${id}-problem ${id}` : id}
        onInput={(event) => {
          setOffer(event.currentTarget.value);
          setProblem('');
        }}
      />
      <button type="submit">{label(act)}</button>
      {problem && (
        <p id={`${id}-problem`} class="problem" role="alert">
          {problem}
        </p>
      )}
      <p id={id}>{words}</p>
    </form>
  );
}

function TimeLeft({ until }: { until: number }): JSX.Element {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const left = until - now;
  return (
    <span class="time-left" role="timer">
      {left > 0 ? `${timeLeft(left)} left` : 'time is up'}
    </span>
  );
}
