// A backend as an app of Gen 2 has it, which `make schema` synthesises with the exported workflows in it.
import { defineBackend } from '@aws-amplify/backend';
import { auth } from './auth/resource.js';
import { data } from './data/resource.js';
import { addWorkflows, environmentOf } from './workflows/resource.js';

const backend = defineBackend({ auth, data });
addWorkflows(backend, {
  environment: environmentOf(process.env['AWS_BRANCH'] ?? 'dev'),
  startRequestsFrom: '2026-01-01T00:00:00Z',
});
