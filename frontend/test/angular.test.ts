// @vitest-environment happy-dom
// on what ngc made of angular/, which `npm run build` puts into dist
import '@angular/compiler';
import { ErrorHandler, provideZonelessChangeDetection } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { BrowserTestingModule, platformBrowserTesting } from '@angular/platform-browser/testing';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import {
  ServiceRequestComponent,
  StepFunctionsService,
  WORKFLOW_STARTER,
  type WorkflowStarter,
} from '../dist/angular/index.js';
import { configure, startAppSync } from './appsync.js';
import { tellStories } from './component-stories.js';
import { eventually } from './waiting.js';

const STORED = {
  ...{ id: 'r1', serviceId: 's', requesterId: 'alice', providerId: 'bob', estimatedHours: 1, status: 'PENDING' },
  ...{ createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' },
};

beforeAll(() => TestBed.initTestEnvironment(BrowserTestingModule, platformBrowserTesting()));
beforeEach(() => {
  TestBed.configureTestingModule({ providers: [provideZonelessChangeDetection()] });
});
afterEach(() => {
  TestBed.resetTestingModule();
});

tellStories((inputs) => {
  const fixture = TestBed.createComponent(ServiceRequestComponent);
  for (const [name, value] of Object.entries(inputs)) fixture.componentRef.setInput(name, value);
  document.body.append(fixture.nativeElement as HTMLElement);
  return {
    page: fixture.nativeElement as HTMLElement,
    show: (requestId) => fixture.componentRef.setInput('requestId', requestId),
    requestId: () => fixture.componentInstance.requestId(),
    remove: () => fixture.destroy(),
  };
});

test('a start of its own, where the app has one, may fail: the stream starts the workflow too', async () => {
  const server = await startAppSync();
  server.script.answer = () => ({ body: { data: { createServiceRequest: STORED } } });
  configure(server.url, () => 'alice');
  const started: string[] = [];
  const handleError = vi.fn();
  TestBed.configureTestingModule({
    providers: [
      { provide: ErrorHandler, useValue: { handleError } },
      {
        provide: WORKFLOW_STARTER,
        useValue: {
          start: (id: string) => (started.push(id), Promise.reject(new Error('no'))),
        } satisfies WorkflowStarter,
      },
    ],
  });
  const service = TestBed.inject(StepFunctionsService);
  const id = await service.startServiceRequestWorkflow({ serviceId: 's', providerId: 'bob', hours: 1 });
  expect(started).toEqual([id]);
  await eventually(() => expect(handleError).toHaveBeenCalledWith(new Error('no')));
  await server.close();
});
