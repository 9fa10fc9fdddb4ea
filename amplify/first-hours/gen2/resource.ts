// The trigger of handler.ts, and its right: amplify/auth/post-confirmation/resource.ts.
import { type Backend, defineFunction } from '@aws-amplify/backend';
import { ArnFormat, Stack } from 'aws-cdk-lib';
import { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

export const postConfirmation = defineFunction({ name: 'post-confirmation', resourceGroupName: 'auth' });

type WithTrigger = Pick<Backend<{ postConfirmation: typeof postConfirmation }>, 'postConfirmation'>;

/** Lets the trigger call the workflows' function that grants hours, and nothing else; `environment` is the workflows'. */
export function letGrantHours(backend: WithTrigger, environment: string): void {
  const trigger = backend.postConfirmation.resources.lambda;
  // By name: a reference would make the user pool wait for the workflows, which wait for the data, which waits for it.
  const name = `hourbank-grantHours-${environment}`;
  const arn = Stack.of(trigger).formatArn({
    service: 'lambda',
    resource: 'function',
    resourceName: name,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
  trigger.addToRolePolicy(new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [arn] }));
  (trigger as LambdaFunction).addEnvironment('GRANT_HOURS_FUNCTION', name);
}
