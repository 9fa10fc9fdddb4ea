"""The program for other tools: CloudFormation and SAM, Amplify Gen 1 and Gen 2."""
