// Who has signed up gets first hours: amplify/auth/post-confirmation/handler.ts. docs/app/first-hours.md has the rest.
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import type { PostConfirmationTriggerHandler } from 'aws-lambda';

const FIRST_HOURS = { hours: '10', reason: 'welcome' };
// Cognito waits for 5 seconds, and then calls again: the same reason is granted once.
const lambda = new LambdaClient({ maxAttempts: 2, requestHandler: { connectionTimeout: 1000, requestTimeout: 1500 } });

export const handler: PostConfirmationTriggerHandler = async (event) => {
  // A password that was reset is confirmed here too, by people who have been here for years.
  if (event.triggerSource !== 'PostConfirmation_ConfirmSignUp') return event;
  const userId = event.request.userAttributes['sub'];
  try {
    await lambda.send(
      new InvokeCommand({
        FunctionName: process.env['GRANT_HOURS_FUNCTION'],
        // Lambda keeps it, and tries again by itself where the function fails.
        InvocationType: 'Event',
        Payload: JSON.stringify({ userId, ...FIRST_HOURS }),
      }),
    );
  } catch (error) {
    // An error would tell somebody who is confirmed by now that they are not.
    console.error(`no first hours for ${userId}: hourbank grant --to ${userId} gives them`, error);
  }
  return event;
};
