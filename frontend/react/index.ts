'use client';

export {
  AnswerRequest,
  AskForService,
  FollowRequest,
  ServiceRequest,
  type AskProps,
  type Names,
  type RequestProps,
} from './components.js';
export { HourBankProvider, useBalance, useHourBank, useRequest, useRequests, type Watching } from './hooks.js';
