"""Lists images with real clients, and compares every answer with what the database holds.

    check.py ENDPOINT EXPECTED [TOKEN]

ENDPOINT is the service's URL without a version; EXPECTED is a JSON file with the documents of
all images that the caller sees. With TOKEN the clients are given endpoint and token, else the
OS_* variables lead them through Keystone and its catalog. Ends with status 0 if all agree.
"""

import json
import os
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")

import glanceclient  # noqa: E402
import glanceclient.exc  # noqa: E402
import openstack  # noqa: E402
from keystoneauth1 import session, token_endpoint  # noqa: E402
from tempest.lib import exceptions as tempest_exceptions  # noqa: E402
from tempest.lib.services.image.v1 import images_client  # noqa: E402

ENDPOINT, EXPECTED = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
TOKEN = sys.argv[3] if len(sys.argv) > 3 else None
BIN = os.path.dirname(sys.executable)
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
PAGE = 7

checked = 0


def same(what, given, expected):
    global checked
    checked += 1
    if given != expected:
        sys.exit(f"{what}:\n  given    {given}\n  expected {expected}")


def ids(images):
    return [image["id"] if isinstance(image, dict) else image.id for image in images]


def ordered(images, key="created_at", reverse=True):
    """As the service orders: null first of all, text by its bytes, ties by creation and id."""
    def value(image):
        field = image[key]
        plain = field.encode() if isinstance(field, str) else field
        return (field is not None, plain if field is not None else 0, image["created_at"], image["id"])
    return ids(sorted(images, key=value, reverse=reverse))


def where(test):
    return [image for image in EXPECTED if test(image)]


ONE = EXPECTED[3]
#: what a client asks for, and the images that it must get
FILTERS = [
    ({"name": ONE["name"]}, lambda i: i["name"] == ONE["name"]),
    ({"name": "two words"}, lambda i: i["name"] == "two words"),
    ({"container_format": "ovf"}, lambda i: i["container_format"] == "ovf"),
    ({"disk_format": "raw"}, lambda i: i["disk_format"] == "raw"),
    ({"status": "queued"}, lambda i: i["status"] == "queued"),
    ({"size_min": 3000}, lambda i: i["size"] is not None and i["size"] >= 3000),
    ({"size_max": 3000}, lambda i: i["size"] is not None and i["size"] <= 3000),
    ({"size_min": 2000, "size_max": 3000}, lambda i: i["size"] is not None and 2000 <= i["size"] <= 3000),
    ({"name": "no such image"}, lambda i: False),
]
#: further ones, which only glanceclient passes on
MORE_FILTERS = [
    ({"changes-since": "2016-01-01T00:00:20Z"}, lambda i: i["updated_at"] >= "2016-01-01T00:00:20"),
    ({"min_ram": 512}, lambda i: i["min_ram"] == 512),
    ({"min_disk": 5}, lambda i: i["min_disk"] == 5),
    ({"protected": True}, lambda i: i["protected"]),
    ({"properties": {"os": "linux"}}, lambda i: i["properties"].get("os") == "linux"),
]


def check_glanceclient(client):
    same("glanceclient: all", ids(client.images.list()), ordered(EXPECTED))
    for key in SORT_KEYS:
        for direction in ("asc", "desc"):
            listed = client.images.list(page_size=PAGE, sort_key=key, sort_dir=direction)
            same(f"glanceclient: {key} {direction}", ids(listed), ordered(EXPECTED, key, direction == "desc"))
    for filters, test in FILTERS + MORE_FILTERS:
        same(f"glanceclient: {filters}", ids(client.images.list(filters=dict(filters))), ordered(where(test)))
    same("glanceclient: limit", ids(client.images.list(limit=3)), ordered(EXPECTED)[:3])
    same("glanceclient: owner", ids(client.images.list(owner=ONE["owner"])),
         ordered(where(lambda i: i["owner"] == ONE["owner"])))
    same("glanceclient: is_public=None", ids(client.images.list(is_public=None)), ordered(EXPECTED))
    shown = client.images.get(ONE["id"]).to_dict()
    same("glanceclient: one", {name: shown.get(name) for name in ONE}, ONE)
    try:
        client.images.data(ONE["id"])
        sys.exit("glanceclient: there is image data")
    except glanceclient.exc.HTTPNotFound:
        pass
    try:
        client.images.get("00000000-0000-0000-0000-000000000000")
        sys.exit("glanceclient: an image that is not there was found")
    except glanceclient.exc.HTTPNotFound:
        pass


def check_openstacksdk(connection):
    image = connection.image
    same("openstacksdk: version", type(image).__module__, "openstack.image.v1._proxy")
    same("openstacksdk: all", ids(image.images()), ordered(EXPECTED))
    same("openstacksdk: in pages", ids(image.images(limit=PAGE)), ordered(EXPECTED))
    for filters, test in FILTERS:
        same(f"openstacksdk: {filters}", ids(image.images(**filters)), ordered(where(test)))
    same("openstacksdk: find", image.find_image(ONE["name"], ignore_missing=False).id, ONE["id"])
    same("openstacksdk: find nothing", image.find_image("no such image"), None)


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def check_openstack_command(options):
    def listed(*words):
        status, out, err = command(f"{BIN}/openstack", *options, "--os-image-api-version", "1", *words, "-f", "json")
        if status:
            sys.exit(f"openstack {words}: {err}")
        return json.loads(out)
    # The command sorts by name itself, and cannot print an image without one.
    rows = listed("image", "list", "--long")
    same("openstack image list", sorted(row["ID"] for row in rows), sorted(ids(EXPECTED)))
    sizes = {row["ID"]: row["Size"] for row in rows}
    same("openstack: sizes", sizes[ONE["id"]], ONE["size"])
    rows = listed("image", "list", "--property", "os=linux")
    same("openstack: property", sorted(row["ID"] for row in rows),
         sorted(ids(where(lambda i: i["properties"].get("os") == "linux"))))
    same("openstack image show", listed("image", "show", ONE["name"])["id"], ONE["id"])


def check_glance_command(options):
    status, out, err = command(f"{BIN}/glance", *options, "--os-image-api-version", "1", "image-list",
                               "--disk-format", "raw", "--page-size", "3")
    if status:
        sys.exit(f"glance image-list: {err}")
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ") and "ID" not in line]
    same("glance image-list", sorted(rows), sorted(ids(where(lambda i: i["disk_format"] == "raw"))))


class TempestAuth:
    """What tempest's clients need of its authentication: where to ask, and with which token."""

    def __init__(self, token):
        self.token = token

    def auth_request(self, method, url, headers=None, body=None, filters=None):
        return f"{ENDPOINT}/v1/{url}", {**(headers or {}), "X-Auth-Token": self.token}, body


def check_tempest(token):
    client = images_client.ImagesClient(TempestAuth(token), "image", "RegionOne")
    same("tempest: all", ids(client.list_images(detail=True)["images"]), ordered(EXPECTED))
    for filters, test in FILTERS:
        listed = client.list_images(detail=True, **filters)["images"]
        same(f"tempest: {filters}", ids(listed), ordered(where(test)))
    same("tempest: brief", ids(client.list_images(limit=3)["images"]), ordered(EXPECTED)[:3])
    since = client.list_images(detail=True, **{"changes-since": "2016-01-01T00:00:20Z"})["images"]
    same("tempest: changes-since", ids(since), ordered(where(lambda i: i["updated_at"] >= "2016-01-01T00:00:20")))
    head = client.check_image(ONE["id"]).response
    same("tempest: one", (head["x-image-meta-name"], head["x-image-meta-size"]), (ONE["name"], str(ONE["size"])))
    refused("tempest", lambda: images_client.ImagesClient(TempestAuth("bad"), "image", "").list_images(),
            tempest_exceptions.Unauthorized)


def refused(what, ask, error):
    try:
        ask()
    except error as refusal:
        same(f"{what}: a bad token", getattr(refusal, "status_code", None) or getattr(refusal, "code", 401), 401)
        return
    sys.exit(f"{what}: a bad token was let in")


if TOKEN:
    check_glanceclient(glanceclient.Client("1", endpoint=ENDPOINT, token=TOKEN))
    given = session.Session(auth=token_endpoint.Token(ENDPOINT, TOKEN))
    for override in (ENDPOINT, f"{ENDPOINT}/v1", f"{ENDPOINT}/v1.1"):
        check_openstacksdk(openstack.connection.Connection(
            session=given, image_api_version="1", image_endpoint_override=override))
    check_openstack_command(
        ["--os-auth-type", "admin_token", "--os-endpoint", f"{ENDPOINT}/v1", "--os-token", TOKEN])
    check_glance_command(["--os-image-url", ENDPOINT, "--os-auth-token", TOKEN])
    check_tempest(TOKEN)
    refused("glanceclient", lambda: list(glanceclient.Client("1", endpoint=ENDPOINT, token="bad").images.list()),
            glanceclient.exc.HTTPUnauthorized)
    stranger = session.Session(auth=token_endpoint.Token(ENDPOINT, "bad"))
    refused("openstacksdk", lambda: list(openstack.connection.Connection(
        session=stranger, image_api_version="1", image_endpoint_override=ENDPOINT).image.images()),
        openstack.exceptions.HttpException)
else:
    cloud = openstack.connect(image_api_version="1")
    check_openstacksdk(cloud)
    check_glanceclient(glanceclient.Client("1", session=cloud.session))
    check_openstack_command([])
    check_glance_command([])
    check_tempest(cloud.session.get_token())
print(f"{checked} answers of the clients agree with the database")
