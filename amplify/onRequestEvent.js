// Subscription.onRequestEvent: people hear what is meant for them.
import { util } from '@aws-appsync/utils';

export function request(ctx) {
  if (ctx.args.userId !== ctx.identity.sub) {
    util.unauthorized();
  }
  return { payload: null };
}

export function response() {
  return null;
}
