// An app's own page, for the strictest compilation of the package's types.
import { useState, type ReactElement } from 'react';
import { createHourBank, type FailureCode } from 'hourbank-frontend';
import {
  AnswerRequest,
  AskForService,
  FollowRequest,
  HourBankProvider,
  ServiceRequest,
  useBalance,
  useRequest,
  useRequests,
} from 'hourbank-frontend/react';

const hourBank = createHourBank();
const WORDS: Partial<Record<FailureCode, string>> = { NOT_ENOUGH_HOURS: 'Nicht genug Stunden' };

export function Gardening(): ReactElement {
  const [requestId, setRequestId] = useState<string | undefined>();
  return (
    <HourBankProvider hourBank={hourBank}>
      <ServiceRequest
        serviceId="gardening"
        providerId="ben"
        timeoutSeconds={undefined}
        serviceName={() => 'Gardening'}
        requestId={requestId}
        onRequestId={setRequestId}
      />
      <AskForService serviceId="gardening" providerId="ben" onAsked={setRequestId} />
      <Inbox />
    </HourBankProvider>
  );
}

function Inbox(): ReactElement {
  const { requests = [], trouble, error, again } = useRequests({ role: 'provider', status: ['AWAITING_PROVIDER'] });
  const { hours } = useBalance();
  const { request, acts = [], say } = useRequest(requests[0]?.request.id);
  return (
    <>
      <button onClick={again}>{(error ?? trouble)?.message}</button>
      <p>
        {hours?.toFixed(2)} {request?.failureCode ? WORDS[request.failureCode] : request?.failureReason}
      </p>
      {acts.map((act) => (
        <button key={act} onClick={() => void say(act)} />
      ))}
      {requests.map((one) => (
        <div key={one.request.id}>
          <FollowRequest requestId={one.request.id} personName={(sub) => sub} />
          <AnswerRequest requestId={one.request.id} />
        </div>
      ))}
    </>
  );
}
