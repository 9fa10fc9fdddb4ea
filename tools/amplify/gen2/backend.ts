// A backend as an app of Gen 2 has it, which `make schema` synthesises with the exported workflows in it.
import { defineBackend } from '@aws-amplify/backend';
import { auth } from './auth/resource.js';
import { data } from './data/resource.js';
import { addWorkflows } from './workflows/resource.js';

const backend = defineBackend({ auth, data });
const environment = (process.env.AWS_BRANCH ?? 'dev').toLowerCase().replace(/[^a-z0-9]/g, '').slice(0, 15);
addWorkflows(backend, { environment, startRequestsFrom: '2026-12-01T00:00:00Z' });
