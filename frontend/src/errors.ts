/**
 * What can go wrong, by what a person can do about it:
 *
 * - `SignedOut`: nobody is signed in, or the session is over
 * - `NotAllowed`: signed in, but as somebody who may not
 * - `NotFound`: no such request
 * - `InvalidInput`: what was given can never work; nothing was sent
 * - `NotPossible`: not in the status that the request has now; nothing was sent
 * - `Conflict`: the id is another request's
 * - `Offline`: no answer from the network; a change may have arrived or not, and is safe to repeat
 * - `Throttled`: too many at once
 * - `Unavailable`: the server failed
 * - `MalformedAnswer`: an answer that is not this API's, for instance a hotel's login page
 * - `Refused`: the API does not take what this package sends; its schema is not that of amplify/schema.graphql
 */
export type ErrorKind =
  | 'SignedOut'
  | 'NotAllowed'
  | 'NotFound'
  | 'InvalidInput'
  | 'NotPossible'
  | 'Conflict'
  | 'Offline'
  | 'Throttled'
  | 'Unavailable'
  | 'MalformedAnswer'
  | 'Refused';

const SENTENCES: Record<ErrorKind, string> = {
  SignedOut: 'You are signed out. Sign in and try again.',
  NotAllowed: 'You are not allowed to do this.',
  NotFound: 'There is no such request.',
  InvalidInput: 'Something in the form is not right.',
  NotPossible: 'This cannot be done now.',
  Conflict: 'There is another request with this id.',
  Offline: 'The server cannot be reached. Check the connection and try again.',
  Throttled: 'There are too many requests at once. Try again in a moment.',
  Unavailable: 'The server has a problem. Try again in a moment.',
  MalformedAnswer: 'The answer was not understood. Try again in a moment.',
  Refused: 'The server does not accept this. The app may be out of date: reload it.',
};
const PASSING: ReadonlySet<ErrorKind> = new Set(['Offline', 'Throttled', 'Unavailable', 'MalformedAnswer']);

/** The one error that this package throws. `message` is a sentence for a person, `cause` what lies behind it. */
export class HourBankError extends Error {
  override readonly name = 'HourBankError';

  constructor(
    readonly kind: ErrorKind,
    message: string = SENTENCES[kind],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether trying again later can help without anybody doing anything. */
  get isPassing(): boolean {
    return PASSING.has(this.kind);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The kind for the name that AWS gives an error, in a GraphQL answer (`errorType`), in a body, or in an SDK. */
function kindOfName(name: string): ErrorKind | undefined {
  if (/^(Unauthorized|AccessDenied(Exception)?)$/.test(name)) return 'NotAllowed';
  if (/^(UnauthorizedException|NoSignedUser|NoValidAuthTokens|ExpiredToken(Exception)?)$/.test(name))
    return 'SignedOut';
  if (/^(UnrecognizedClientException|InvalidClientTokenId|CredentialsProviderError)$/.test(name)) return 'SignedOut';
  if (/ConditionalCheckFailedException$/.test(name)) return 'Conflict';
  if (/(ThroughputExceeded|Throttl\w*|TooManyRequests|RequestLimitExceeded|LimitExceeded)(Exception)?$/.test(name)) {
    return 'Throttled';
  }
  if (
    /(InternalServerError|InternalFailure|InternalFailureException|ServiceUnavailable|ExecutionTimeout)$/.test(name)
  ) {
    return 'Unavailable';
  }
  if (/^(NetworkError|TimeoutError|AbortError|RequestTimeout|ECONN(REFUSED|RESET)|ENOTFOUND)$/.test(name))
    return 'Offline';
  if (/^(ExecutionDoesNotExist|StateMachineDoesNotExist)$/.test(name)) return 'NotFound';
  return undefined;
}

function kindOfStatusCode(code: number): ErrorKind | undefined {
  if (code === 401) return 'SignedOut';
  if (code === 403) return 'NotAllowed';
  if (code === 408) return 'Offline';
  if (code === 429) return 'Throttled';
  if (code >= 500) return 'Unavailable';
  return undefined;
}

/** AWS's own name for an error that is only in the body, as AppSync's `{errors: [{errorType}]}` with status 4xx. */
function kindOfBody(body: string): ErrorKind | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (isObject(parsed) && Array.isArray(parsed['errors'])) return kindOf({ errors: parsed['errors'] });
  } catch {
    // a proxy's page, not the API's answer
    return 'MalformedAnswer';
  }
  return undefined;
}

/** Walks from what was thrown to its causes; the first that has a kind says it. */
function kindOf(thrown: unknown): ErrorKind | undefined {
  if (!isObject(thrown)) return undefined;
  if (thrown instanceof HourBankError) return thrown.kind;
  const { errors } = thrown;
  if (Array.isArray(errors)) {
    const kinds = errors.map(kindOf);
    return kinds.find((kind) => kind !== undefined) ?? 'Refused';
  }
  // the reason that the session could not be read is better than "no current user": it may be the network
  const deeper = kindOf(thrown['originalError']) ?? kindOf(thrown['underlyingError']);
  if (deeper) return deeper;
  const response = isObject(thrown['response']) ? thrown['response'] : undefined;
  const metadata = isObject(thrown['$metadata']) ? thrown['$metadata'] : undefined;
  const code = response?.['statusCode'] ?? metadata?.['httpStatusCode'];
  return (
    kindOfName(textOf(thrown['errorType'])) ??
    kindOfName(textOf(thrown['name'])) ??
    kindOfName(textOf(thrown['code'])) ??
    (typeof code === 'number' ? kindOfStatusCode(code) : undefined) ??
    (response ? kindOfBody(textOf(response['body'])) : undefined) ??
    // what fetch throws where there is no connection; what JSON.parse throws where there is another page
    (thrown instanceof TypeError ? 'Offline' : thrown instanceof SyntaxError ? 'MalformedAnswer' : undefined)
  );
}

/** Whatever was thrown on the way to the API and back, as the error that this package throws. */
export function toHourBankError(thrown: unknown, otherwise: ErrorKind = 'Refused'): HourBankError {
  if (thrown instanceof HourBankError) return thrown;
  return new HourBankError(kindOf(thrown) ?? otherwise, undefined, { cause: thrown });
}
