"""An object of S3 or of what speaks like it: a request signed by botocore, sent through the guard like any other."""

import re
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from worker.contract.fetching import FetchSecrets, S3Object
from worker.fetching.addresses import Address, parse
from worker.fetching.failures import FetchFailed
from worker.fetching.web import LATER, Answer, Headers, Sign, no_secret, raise_for

CODE = re.compile(rb"<Code>(\w{1,60})</Code>")
WRONG_KEYS = {
    "InvalidAccessKeyId": "There is no such access key.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key.",
    "ExpiredToken": "The session token has expired.",
    "InvalidToken": "The session token is not valid.",
    "AccessDenied": "These keys may not read it.",
}
ERROR_BYTES = 4096


def address_of(source: S3Object) -> Address:
    key = quote(source.key, safe="/~")
    if source.endpoint:
        base = parse(source.endpoint)
        return parse(f"{base.shown.rstrip('/')}/{source.bucket}/{key}")
    if "." in source.bucket:  # the certificate covers one label before the region's name
        return parse(f"https://s3.{source.region}.amazonaws.com/{source.bucket}/{key}")
    return parse(f"https://{source.bucket}.s3.{source.region}.amazonaws.com/{key}")


def signer(source: S3Object, *, secrets: FetchSecrets) -> Sign:
    """Anew for each request: a signature is good for 15 minutes. Without keys the object must be public."""
    if not secrets.access_key_id:
        return no_secret
    credentials = Credentials(secrets.access_key_id, secrets.secret_access_key, secrets.session_token or None)

    def sign(address: Address) -> Headers:
        request = AWSRequest(method="GET", url=address.url)
        S3SigV4Auth(credentials, "s3", source.region).add_auth(request)
        return dict(request.headers.items())

    return sign


def check(answer: Answer) -> None:
    """S3 says in XML what is wrong; only its code word is read."""
    if answer.status < 300:
        return
    if answer.status in LATER:
        raise_for(answer)
    found = CODE.search(answer.start_of(ERROR_BYTES))
    code, where = found.group(1).decode() if found else "", answer.address.shown
    if answer.status in (301, 307, 400) and (region := answer.headers.get("x-amz-bucket-region")):
        raise FetchFailed("server", f"The bucket lies in the region {region[:40]}.", fix="Give that region and try again.")
    if code == "NoSuchBucket":
        raise FetchFailed(
            "not_found", f"There is no bucket of this name at {answer.address.host}.", fix="Check bucket and endpoint."
        )
    if answer.status == 404:
        raise FetchFailed("not_found", f"There is no object at {where}.", fix="Check bucket and key.")
    if code in WRONG_KEYS or answer.status in (401, 403):
        reason = WRONG_KEYS.get(code, "These keys may not read it.")
        raise FetchFailed("refused", f"{reason} ({where})", fix="Check the keys, or ask whoever made them.")
    raise FetchFailed("server", f"{where} answered with status {answer.status}{f' ({code})' if code else ''}.")
