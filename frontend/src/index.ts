export { HourBankError, type ErrorKind } from './errors.js';
export {
  createHourBank,
  signedInUser,
  type GraphQLClient,
  type HourBank,
  type HourBankOptions,
  type NewRequest,
  type RequestState,
} from './hourbank.js';
export { isLegalHours, parseHours } from './hours.js';
export {
  ACTS,
  isEnded,
  possibleActs,
  roleOf,
  stepsOf,
  STATUSES,
  type Act,
  type ActIn,
  type ProviderAct,
  type ProviderResponse,
  type RequesterAct,
  type RequesterResponse,
  type Role,
  type ServiceRequest,
  type Status,
  type Step,
} from './request.js';
