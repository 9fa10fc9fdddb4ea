// An app's own component, for the strictest compilation of the package's types and templates.
import { Component, signal } from '@angular/core';
import { createHourBank, HourBankError, parseHours, stepsOf } from 'hourbank-frontend';
import { HOURBANK, ServiceRequestComponent, StepFunctionsService } from 'hourbank-frontend/angular';

@Component({
  selector: 'app-gardening',
  imports: [ServiceRequestComponent],
  template: `<hourbank-service-request
    serviceId="gardening"
    [providerId]="providerId"
    [timeoutSeconds]="undefined"
    [(requestId)]="requestId"
  />`,
  providers: [StepFunctionsService, { provide: HOURBANK, useFactory: () => createHourBank() }],
})
export class Gardening {
  readonly providerId = 'ben';
  readonly requestId = signal<string | undefined>(undefined);
  readonly hours: number = parseHours('1,5');
}

export const used = [HourBankError, stepsOf];
