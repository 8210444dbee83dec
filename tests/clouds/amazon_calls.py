"""Calls Amazon's services: run by the interpreter of requirements/clouds.lock, with AWS_ENDPOINT_URL naming the server.

On standard input a JSON list of `[service, operation, arguments]`; on standard output the answers, without metadata.
The client library checks the arguments against Amazon's own descriptions before it sends them.
"""

import json
import sys

import boto3  # type: ignore[import-not-found]  # in an environment of its own

clients = {}
answers = []
for service, operation, arguments in json.load(sys.stdin):
    client = clients.setdefault(service, boto3.client(service))
    answer = getattr(client, operation)(**arguments)
    answer.pop("ResponseMetadata", None)
    answers.append(answer)
json.dump(answers, sys.stdout, default=str)
