// Mutation.publishRequestEvent: passes its arguments on to those who subscribed, and does nothing else.
import { util } from '@aws-appsync/utils';

export function request(ctx) {
  // only the role of the rule on the bus comes by IAM: nobody else can tell people that something happened
  if (util.authType() !== 'IAM Authorization') {
    util.unauthorized();
  }
  return { payload: ctx.args };
}

export function response(ctx) {
  return ctx.result;
}
