import { useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';

import type { HourBank } from '../../src';
import { HOURS_FIELD, hoursIn } from './hours-field';
import type { Person } from './local';
import { hours, inHundredths } from './words';

interface Props {
  others: Person[];
  name: (userId: string) => string;
  available: number;
  /** Whether it is unfolded as long as nobody has folded, unfolded or used it. */
  isOpenByItself: boolean;
  hourBank: HourBank;
  onSubmitted: (requestId: string) => void;
}

/** The form for asking somebody for a service; folded where requests wait, so that these are seen first. */
export function NewRequest({ others, name, available, isOpenByItself, hourBank, onSubmitted }: Props): JSX.Element {
  const [choice, setChoice] = useState<boolean | null>(null);
  const [providerId, setProvider] = useState(others[0]?.userId ?? '');
  const [service, setService] = useState('Help in the garden');
  const [amount, setAmount] = useState('2');
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState('');
  const [areHoursWrong, setHoursWrong] = useState(false);
  // the same as long as the request is the same: asked again after a failure, it is not asked twice
  const id = useRef<string | null>(null);
  const toggle = useRef<HTMLButtonElement>(null);
  const hoursField = useRef<HTMLInputElement>(null);
  const isOpen = choice ?? isOpenByItself;
  const wanted = hoursIn(amount);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setHoursWrong(wanted instanceof Error);
    if (wanted instanceof Error) {
      setProblem(wanted.message);
      hoursField.current?.focus();
      return;
    }
    setSending(true);
    setProblem('');
    id.current ??= crypto.randomUUID();
    try {
      const request = { id: id.current, serviceId: service.trim(), providerId, hours: wanted };
      onSubmitted(await hourBank.submitRequest(request));
      id.current = null;
      setChoice(null);
      toggle.current?.focus();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setSending(false);
  };

  return (
    <section class="new">
      <h3>
        <button
          ref={toggle}
          type="button"
          aria-expanded={isOpen}
          aria-controls="new-request"
          onClick={() => setChoice(!isOpen)}
        >
          Ask for a service
        </button>
      </h3>
      <form
        id="new-request"
        hidden={!isOpen}
        onFocusIn={() => setChoice(true)}
        onInput={() => (id.current = null)}
        onSubmit={(event) => void submit(event)}
      >
        <div class="field">
          <label for="new-service">What for</label>
          <input
            id="new-service"
            required
            maxLength={100}
            autocomplete="off"
            value={service}
            onInput={(event) => setService(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="new-provider">Whom</label>
          <select id="new-provider" value={providerId} onChange={(event) => setProvider(event.currentTarget.value)}>
            {others.map(({ userId }) => (
              <option key={userId} value={userId}>
                {name(userId)}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="new-hours">Hours</label>
          <input
            id="new-hours"
            ref={hoursField}
            {...HOURS_FIELD}
            value={amount}
            aria-invalid={areHoursWrong}
            aria-describedby={areHoursWrong ? 'new-problem new-effect' : 'new-effect'}
            onInput={(event) => {
              setAmount(event.currentTarget.value);
              if (areHoursWrong) setProblem('');
              setHoursWrong(false);
            }}
          />
        </div>
        <button type="submit" class="main" disabled={isSending}>
          {isSending ? 'Sending…' : `Ask ${name(providerId)}`}
        </button>
        <p id="new-effect" class="quiet">
          {wanted instanceof Error
            ? `You have ${hours(available)}.`
            : inHundredths(wanted) > inHundredths(available)
              ? `You have ${hours(available)}: the workflow will say no.`
              : `${hours(wanted)} of your ${hours(available)} will be held until you confirm the service.`}
        </p>
        {problem && (
          <p id="new-problem" class="problem" role="alert">
            {problem}
          </p>
        )}
      </form>
    </section>
  );
}
