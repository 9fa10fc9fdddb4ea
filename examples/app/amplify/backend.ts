// Auth, data, the workflows on its tables, and the trigger that grants first hours. docs/app/from-app-to-paid-hour.md says
// where data/, workflows/ and auth/post-confirmation/ come from.
import { defineBackend } from '@aws-amplify/backend';
import { auth } from './auth/resource.js';
import { letGrantHours, postConfirmation } from './auth/post-confirmation/resource.js';
import { data } from './data/resource.js';
import { addWorkflows, environmentOf } from './workflows/resource.js';

const environment = environmentOf(process.env['AWS_BRANCH'] ?? 'dev');
const backend = defineBackend({ auth, data, postConfirmation });
addWorkflows(backend, { environment, startRequestsFrom: '2026-01-01T00:00:00Z' });
letGrantHours(backend, environment);
