/** What a request's status means for the person who looks at it, in words. */

import { roleOf, type Act, type FailureCode, type Role, type ServiceRequest } from '../../src';

/** Who takes part, by name, and the hours that the words are about. */
export interface Scene {
  requester: string;
  provider: string;
  /** Hours of the request's escrow, whatever became of them; null where there is none. */
  held: number | null;
  /** What the reader has. */
  available: number;
}

export interface Story {
  /** The status in one or two words, and its sign: the meaning is never in the colour alone. */
  label: string;
  sign: string;
  tone: 'moving' | 'waiting' | 'running' | 'good' | 'over' | 'bad';
  /** What has happened, and to which hours. */
  sentence: string;
  /** Whose turn it is, if it is anybody's. */
  turn: Role | null;
}

export const capitalised = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** Hours as people write them: 2, 2.5, never 2.50. */
export function hours(value: number | string | null | undefined): string {
  return `${inHundredths(value) / 100} h`;
}

/** Hours in whole hundredths: exact sums and differences of numbers that have two decimals. */
export function inHundredths(value: number | string | null | undefined): number {
  return Math.round(Number(value ?? 0) * 100);
}

export function story(request: ServiceRequest, me: string, scene: Scene): Story {
  const { requester, provider, held } = scene;
  const asked = hours(request.estimatedHours);
  const offered = hours(request.offeredHours);
  const kept = hours(held ?? request.estimatedHours);
  const mine = roleOf(request, me) === 'requester';
  const why = reasonOf(request, mine ? 'You' : requester, mine ? provider : 'You');
  const reason = why ? `${why}. ` : '';
  switch (request.status) {
    case 'PENDING':
    case 'VALIDATING':
    case 'ESCROWED':
      return {
        label: 'Starting',
        sign: '…',
        tone: 'moving',
        sentence: `The workflow checks the request and sets ${asked} of ${mine ? 'yours' : `${requester}’s`} aside.`,
        turn: null,
      };
    case 'AWAITING_PROVIDER':
      return {
        label: mine ? `${provider} is asked` : 'You are asked',
        sign: '?',
        tone: 'waiting',
        sentence: mine
          ? `${kept} of yours are held. Now ${provider} has to answer.`
          : `${requester} asks you, and ${kept} of ${requester}’s are held. What do you say?`,
        turn: 'provider',
      };
    case 'NEGOTIATING':
      return {
        label: 'Counter-offer',
        sign: '⇄',
        tone: 'waiting',
        sentence: mine
          ? `${provider} would do it for ${offered}. You offered ${asked}, which are held.`
          : `You would do it for ${offered} instead of ${asked}. Now ${requester} has to answer.`,
        turn: 'requester',
      };
    case 'IN_PROGRESS':
      return {
        label: 'In progress',
        sign: '▶',
        tone: 'running',
        sentence: mine
          ? `${provider} is at it, and ${kept} of yours are held. Confirm when it is done.`
          : `You are at it. ${kept} are held for you until ${requester} confirms.`,
        turn: 'requester',
      };
    case 'COMPLETED':
      return {
        label: 'Done and paid',
        sign: '✓',
        tone: 'good',
        sentence: `${kept} went from ${mine ? 'you' : requester} to ${mine ? provider : 'you'}.`,
        turn: null,
      };
    case 'REJECTED':
      return { label: 'Not possible', sign: '✕', tone: 'bad', sentence: `${reason}No hours were held.`, turn: null };
    default:
      return {
        label: ENDINGS[request.status] ?? 'Ended',
        sign: request.status === 'FAILED' ? '!' : '↩',
        tone: request.status === 'FAILED' ? 'bad' : 'over',
        sentence:
          reason + (held === null ? 'No hours were held.' : `${kept} went back to ${mine ? 'you' : requester}.`),
        turn: null,
      };
  }
}

/** Why it ended, with who did it: what one did oneself is said to one as that. */
function reasonOf({ failureCode, failureReason }: ServiceRequest, requester: string, provider: string): string | null {
  const words: Partial<Record<FailureCode, string>> = {
    PROVIDER_DECLINED: `${provider} declined`,
    PROVIDER_TIMED_OUT: `${provider} did not answer in time`,
    PROVIDER_WITHDREW: `${provider} withdrew`,
    OFFER_DECLINED: `${requester} declined the counter-offer`,
    REQUESTER_TIMED_OUT: `${requester} did not answer the counter-offer in time`,
    REQUESTER_CANCELLED: `${requester} cancelled`,
  };
  return (failureCode && words[failureCode]) ?? failureReason;
}

const ENDINGS: Partial<Record<ServiceRequest['status'], string>> = {
  DECLINED: 'Declined',
  CANCELLED: 'Cancelled',
  TIMED_OUT: 'Timed out',
  FAILED: 'Failed',
};

const LABELS: Record<Act, string> = {
  accept: 'Accept',
  decline: 'Decline',
  counterOffer: 'Counter-offer',
  withdraw: 'Withdraw',
  cancel: 'Cancel',
  acceptOffer: 'Accept the offer',
  rejectOffer: 'Reject the offer',
  confirm: 'Confirm',
};

export const label = (act: Act): string => LABELS[act];

/** What an act will do to the hours, for the person who may do it. */
export function effect(act: Act, request: ServiceRequest, { requester, provider, held, available }: Scene): string {
  const kept = hours(held ?? request.estimatedHours);
  switch (act) {
    case 'accept':
      return `${kept} stay held, and become yours when ${requester} confirms.`;
    case 'decline':
      return `${kept} go back to ${requester}.`;
    case 'counterOffer':
      return `${requester} decides. Until then ${kept} stay held.`;
    case 'withdraw':
      return `${kept} go back to ${requester}; you are not paid.`;
    case 'cancel':
      return `${kept} come back to you, unless ${provider} has answered first.`;
    case 'rejectOffer':
      return `${kept} come back to you.`;
    case 'confirm':
      return `${kept} go to ${provider}, for good.`;
    case 'acceptOffer':
      return offerAccepted(inHundredths(request.offeredHours) - inHundredths(held), kept, available);
  }
}

function offerAccepted(more: number, kept: string, available: number): string {
  if (more === 0) return `${kept} stay held.`;
  if (more < 0) return `${hours(-more / 100)} come back to you; the rest stays held.`;
  const words = `${hours(more / 100)} more of yours are held`;
  return more > inHundredths(available)
    ? `${words}: you have ${hours(available)}, so the request would end, and ${kept} come back to you.`
    : `${words}.`;
}

/** The time until then: "14:32", or "2 d 03:10" where it is long. */
export function timeLeft(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (value: number): string => String(value).padStart(2, '0');
  const [days, rest] = [Math.floor(seconds / 86_400), seconds % 86_400];
  const [hour, minute, second] = [Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60];
  if (days > 0) return `${days} d ${two(hour)}:${two(minute)}`;
  return hour > 0 ? `${hour}:${two(minute)}:${two(second)}` : `${minute}:${two(second)}`;
}
