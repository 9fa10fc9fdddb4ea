// A backend with the trigger of amplify/first-hours in it, as docs/app/first-hours.md says. tsc reads it; to synthesise
// it would take a bundler beside Amplify's packages, so trigger.mjs looks at the trigger's right alone.
import { defineAuth, defineBackend } from '@aws-amplify/backend';
import { letGrantHours, postConfirmation } from './auth/post-confirmation/resource.js';
import { data } from './data/resource.js';
import { addWorkflows, environmentOf } from './workflows/resource.js';

const auth = defineAuth({ loginWith: { email: true }, triggers: { postConfirmation } });
const environment = environmentOf(process.env['AWS_BRANCH'] ?? 'dev');
const backend = defineBackend({ auth, data, postConfirmation });
addWorkflows(backend, { environment, startRequestsFrom: '2026-01-01T00:00:00Z' });
letGrantHours(backend, environment);
