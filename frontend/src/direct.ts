/**
 * Executions that the browser starts and follows itself, for teams that opted in with `amplifyAuthRoleName`.
 *
 * docs/app/browser-starts.md says what that gives away. Nobody needs this to use HourBank: see `createHourBank`.
 */
import { DescribeExecutionCommand, SFNClient, StartExecutionCommand, type SFNClientConfig } from '@aws-sdk/client-sfn';
import { fetchAuthSession } from 'aws-amplify/auth';
import { HourBankError, toHourBankError } from './errors.js';
import { poll, type Reading } from './polling.js';

const PREFIX = 'service-request-';
const LONGEST_NAME = 80;
const EXECUTION_STATUSES = ['RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED'] as const;
export type ExecutionStatus = (typeof EXECUTION_STATUSES)[number];

export interface DirectOptions {
  /** The stack's output `serviceRequestWorkflowArn`; the region is in it. */
  readonly stateMachineArn: string;
  /** What else the SDK's client is to know, for instance an `endpoint`. */
  readonly clientConfig?: Omit<SFNClientConfig, 'credentials' | 'region'>;
}

export interface Execution {
  readonly executionArn: string;
  readonly status: ExecutionStatus;
  /** What the workflow said at its end, as JSON; undefined while it runs and where it failed. */
  readonly output: string | undefined;
}

export interface Direct {
  /**
   * Starts the workflow of a request whose record is there already; resolves to the execution's ARN.
   *
   * The name is the one that the table's stream uses, so both starts are one execution, however often it is done.
   */
  start(requestId: string): Promise<string>;
  /** How an execution stands. Its history is not for browsers: it shows task tokens. */
  describe(executionArn: string): Promise<Execution>;
  /** The execution's states until it has ended, read as `watch` of the request is. */
  watchExecution(
    executionArn: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): AsyncGenerator<Reading<Execution>, void, void>;
}

/** The name of a request's first execution, as `handlers/bank/execution.py` computes it. */
export async function executionName(requestId: string): Promise<string> {
  const name = `${PREFIX}${requestId}`;
  const isPlain = /^[A-Za-z0-9_-]+$/.test(requestId) && !/-\d+$|^[0-9a-f]{40}$/.test(requestId);
  if (name.length <= LONGEST_NAME && isPlain) return name;
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(requestId));
  const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${PREFIX}${hex.slice(0, 40)}`;
}

export function createDirect({ stateMachineArn, clientConfig }: DirectOptions): Direct {
  const [, region] = /^arn:[^:]+:states:([a-z0-9-]+):\d{12}:stateMachine:[^:]+$/.exec(stateMachineArn) ?? [];
  if (!region)
    throw new HourBankError('InvalidInput', `${stateMachineArn || 'Nothing'} is not the ARN of a state machine.`);
  const client = new SFNClient({ ...clientConfig, region, credentials });

  async function describe(executionArn: string, abortSignal?: AbortSignal): Promise<Execution> {
    try {
      const { status, output } = await client.send(
        new DescribeExecutionCommand({ executionArn }),
        abortSignal ? { abortSignal } : {},
      );
      const known = EXECUTION_STATUSES.find((one) => one === status);
      if (!known) throw new HourBankError('MalformedAnswer');
      return { executionArn, status: known, output };
    } catch (thrown) {
      throw toHourBankError(thrown);
    }
  }

  return {
    async start(requestId) {
      const name = await executionName(requestId);
      const input = JSON.stringify({ requestId });
      try {
        const { executionArn } = await client.send(new StartExecutionCommand({ stateMachineArn, name, input }));
        if (!executionArn) throw new HourBankError('MalformedAnswer');
        return executionArn;
      } catch (thrown) {
        // it ran already, started by the stream or by this
        if (thrown instanceof Error && thrown.name === 'ExecutionAlreadyExists') {
          return `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${name}`;
        }
        throw toHourBankError(thrown);
      }
    },

    describe: (executionArn) => describe(executionArn),

    watchExecution: (executionArn, { signal } = {}) =>
      poll({
        signal,
        read: (aborted) => describe(executionArn, aborted),
        isEnd: ({ status }) => status !== 'RUNNING',
      }),
  };
}

/** Asked for anew by the SDK whenever the last ones are about to expire. */
async function credentials() {
  const { credentials: given } = await fetchAuthSession().catch((thrown: unknown) => {
    throw toHourBankError(thrown, 'SignedOut');
  });
  if (!given) throw new HourBankError('SignedOut');
  return given;
}
