export { ServiceRequestComponent } from './service-request.component.js';
export { HOURBANK, StepFunctionsService, WORKFLOW_STARTER, type WorkflowStarter } from './step-functions.service.js';
