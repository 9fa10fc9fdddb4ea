// The models that HourBank's workflows work on, for Amplify Gen 2: amplify/data/resource.ts.
//
// A field without .authorization() inherits the model's rules; a field with its own has them instead, so each of them
// says again who reads (https://docs.amplify.aws/react/build-a-backend/data/customize-authz/). No rule is for API keys,
// guests or groups, and 'delete' is nowhere: on a field it would let its owner set null.
// README.md beside this file says what each rule is for.
import { a, defineData, type ClientSchema } from '@aws-amplify/backend';

export const schema = a.schema({
  ServiceRequestStatus: a.enum([
    'PENDING',
    'VALIDATING',
    'ESCROWED',
    'AWAITING_PROVIDER',
    'NEGOTIATING',
    'IN_PROGRESS',
    'COMPLETED',
    'REJECTED',
    'DECLINED',
    'CANCELLED',
    'TIMED_OUT',
    'FAILED',
  ]),
  ProviderResponse: a.enum(['ACCEPTED', 'REJECTED', 'COUNTER_OFFER', 'WITHDRAWN']),
  RequesterResponse: a.enum(['CANCELLED', 'ACCEPTED', 'REJECTED', 'COMPLETED']),
  EscrowStatus: a.enum(['HELD', 'RELEASED', 'REFUNDED']),
  TransactionType: a.enum(['ESCROW_HOLD', 'ESCROW_ADJUST', 'ESCROW_REFUND', 'ESCROW_RELEASE', 'GRANT']),

  // 'create' for the requester alone: Amplify compares the input's requesterId with the caller, so nobody asks in
  // another's name. 'update' is in no rule of the model: what is written once at creation stays, requesterId and
  // providerId too. Not here, so that no client can see or write them: taskToken, taskTokenAttempt. Not declared, so
  // that no input has them: createdAt and updatedAt, which Amplify writes itself.
  ServiceRequest: a
    .model({
      id: a.id().required(),

      // the requester's, at creation
      serviceId: a.id().required(),
      requesterId: a.id().required(),
      providerId: a.id().required(),
      estimatedHours: a.float().required(),
      providerResponseTimeoutSeconds: a.integer(),

      // OPEN until the request's last status, so that the auditor finds by its index what can still change; leave it out
      // when you create a request. It has the model's rules: Amplify refuses a default that its creator may not write.
      open: a.string().default('OPEN'),

      // the provider's answer; a reference, because an enum in place takes no rules of its own
      providerResponse: a.ref('ProviderResponse').authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read', 'update']),
      ]),
      counterOfferHours: a.float().authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read', 'update']),
      ]),

      // the requester's answer; no 'create': a request cannot be born answered
      requesterResponse: a.ref('RequesterResponse').authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read', 'update']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),

      // the workflow's
      status: a.ref('ServiceRequestStatus').authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),
      offeredHours: a.float().authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),
      failureReason: a.string().authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),
      failureCode: a.string().authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),
      stepFunctionExecutionArn: a.string().authorization((allow) => [
        allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
        allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
      ]),
    })
    .secondaryIndexes((index) => [index('open').name('byOpen').queryField(null).projection('KEYS_ONLY')])
    .disableOperations(['delete'])
    .authorization((allow) => [
      allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['create', 'read']),
      allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
    ]),

  // The workflows alone write the three models below, so that they have no mutations, and no subscriptions: these fire on
  // mutations only (https://docs.aws.amazon.com/appsync/latest/devguide/aws-appsync-real-time-data.html).
  Escrow: a
    .model({
      id: a.id().required(),
      requestId: a.id(),
      requesterId: a.id(),
      providerId: a.id(),
      hours: a.float(),
      executionArn: a.string(),
      status: a.ref('EscrowStatus'),
    })
    .secondaryIndexes((index) => [index('status').name('byStatus').queryField(null).projection('KEYS_ONLY')])
    .disableOperations(['mutations', 'subscriptions'])
    .authorization((allow) => [
      allow.ownerDefinedIn('requesterId').identityClaim('sub').to(['read']),
      allow.ownerDefinedIn('providerId').identityClaim('sub').to(['read']),
    ]),

  // everybody reads their own balance, and nobody another's
  UserBalance: a
    .model({
      userId: a.id().required(),
      availableBalance: a.float(),
    })
    .identifier(['userId'])
    .disableOperations(['mutations', 'subscriptions'])
    .authorization((allow) => [allow.ownerDefinedIn('userId').identityClaim('sub').to(['read'])]),

  // An entry names accounts, not an owner whom Amplify could compare with a caller, so it has no queries either: what
  // people may know of it is in their Escrow. The rule lets nobody do anything; it is there because a model without one
  // would be open in an API with a global rule. (Amplify adds the rule's userId to the type, empty in every entry.)
  TransactionLog: a
    .model({
      id: a.id().required(),
      requestId: a.id(),
      type: a.ref('TransactionType'),
      hours: a.float(),
      fromAccount: a.string(),
      toAccount: a.string(),
      reason: a.string(),
    })
    .disableOperations(['queries', 'mutations', 'subscriptions'])
    .authorization((allow) => [allow.ownerDefinedIn('userId').identityClaim('sub').to([])]),
});

export type Schema = ClientSchema<typeof schema>;

export const data = defineData({
  schema,
  authorizationModes: { defaultAuthorizationMode: 'userPool' },
});
