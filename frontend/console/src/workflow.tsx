import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';

import type { Execution } from './local';

const WORDS: Record<string, string> = {
  RUNNING: 'running',
  SUCCEEDED: 'ended',
  FAILED: 'failed',
  TIMED_OUT: 'timed out',
  ABORTED: 'aborted',
};

/** A state machine's picture, lit up along the path of an execution, and the same path as a list. */
export function Workflow({
  machine,
  purpose,
  execution,
}: {
  machine: string;
  purpose: string;
  execution: Execution | undefined;
}): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const picture = usePicture(machine);
  const status = execution ? (WORDS[execution.status] ?? execution.status.toLowerCase()) : 'not started';

  useEffect(() => {
    if (picture && place.current) place.current.replaceChildren(picture);
  }, [picture]);
  useEffect(() => {
    if (!picture || !place.current) return;
    light(picture, execution);
    // where the picture is wider than its place, as on a phone
    const current = picture.querySelector('.current')?.getBoundingClientRect();
    const { left, width } = place.current.getBoundingClientRect();
    if (current) place.current.scrollLeft += current.left + current.width / 2 - (left + width / 2);
  }, [picture, JSON.stringify(execution)]);

  return (
    <section class="workflow" aria-labelledby={`${machine}-title`}>
      <header>
        <h3 id={`${machine}-title`}>{machine}</h3>
        <span class={`badge ${execution?.status.toLowerCase() ?? 'absent'}`}>{status}</span>
      </header>
      <p class="purpose">{purpose}</p>
      {picture && (
        <p class="scrolls quiet" aria-hidden="true">
          ↔ The picture is wider than its place: scroll it sideways.
        </p>
      )}
      {picture && (
        // it scrolls by itself where it is wider than the page, so the keyboard must reach it
        <div class="picture" ref={place} tabIndex={0} role="region" aria-label={`Picture of ${machine}`} />
      )}
      {execution && (
        <ol class="path" aria-label={`States that ${machine} has passed`}>
          {execution.path.map((state, index) => (
            <li
              key={`${index} ${state}`}
              aria-current={state === execution.current && index === execution.path.length - 1 ? 'step' : undefined}
            >
              {state}
            </li>
          ))}
        </ol>
      )}
      {execution?.error && (
        <p class="problem">
          <strong>Failed:</strong> {execution.error}
        </p>
      )}
    </section>
  );
}

/** The picture as it is served: it brings its styles, for the classes of `light` too. */
function usePicture(machine: string): SVGSVGElement | null {
  const [picture, setPicture] = useState<SVGSVGElement | null>(null);
  useEffect(() => {
    let isOver = false;
    void fetch(`local/diagrams/${machine}.svg`)
      .then((answer) => (answer.ok ? answer.text() : ''))
      .then((text) => {
        const root = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
        if (isOver || !(root instanceof SVGSVGElement)) return;
        setPicture(document.importNode(root, true));
      })
      .catch(() => undefined); // without a picture there is the list
    return () => {
      isOver = true;
    };
  }, [machine]);
  return picture;
}

function light(picture: SVGSVGElement, execution: Execution | undefined): void {
  const path = execution?.path ?? [];
  const steps = new Set(path.slice(1).map((state, index) => `${path[index]} ${state}`));
  const last = path[path.length - 1];
  picture.classList.toggle('started', path.length > 0);
  for (const state of picture.querySelectorAll<SVGElement>('[data-state]')) {
    const name = state.dataset['state'] ?? '';
    state.classList.toggle('taken', path.includes(name));
    state.classList.toggle('current', name === execution?.current);
    state.classList.toggle('failed', execution?.status === 'FAILED' && name === last);
  }
  const firstState = picture.querySelector('[data-state]');
  for (const edge of picture.querySelectorAll<SVGElement>('[data-from]')) {
    const isTaken = steps.has(`${edge.dataset['from']} ${edge.dataset['to']}`);
    edge.classList.toggle('taken', isTaken);
    // lines that come together share their last part: the one that was taken lies on top
    if (isTaken && edge.querySelector('.line')) picture.insertBefore(edge, firstState);
  }
}
