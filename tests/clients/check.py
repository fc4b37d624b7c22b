"""Lists images with real clients, and compares every answer with what the database holds.

    check.py ENDPOINT EXPECTED [TOKEN ADMIN]

ENDPOINT is the service's URL without a version; EXPECTED is a JSON file with the caller's project,
the documents of all images that the caller sees, of those that it sees when they are deleted only,
and of those that an admin alone sees, and the memberships that the caller may know of. With TOKEN,
and the token ADMIN of an admin, the clients are given endpoint and token, else the OS_* variables
lead them through Keystone and its catalog. Ends with status 0 if all agree.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")

import glanceclient  # noqa: E402
import glanceclient.exc  # noqa: E402
import glanceclient.shell  # noqa: E402
import openstack  # noqa: E402
import openstackclient.shell  # noqa: E402
from keystoneauth1 import session, token_endpoint  # noqa: E402
from tempest.lib import exceptions as tempest_exceptions  # noqa: E402
from tempest.lib.services.image.v1 import image_members_client, images_client  # noqa: E402

ENDPOINT, CATALOG = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
EXPECTED, PROJECT = CATALOG["seen"], CATALOG["project"]
TOKEN, ADMIN = sys.argv[3:] if len(sys.argv) > 3 else (None, None)
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


def everything(image):
    return True


ONE = EXPECTED[3]
OTHERS = next(image for image in EXPECTED if not image["is_public"] and image["owner"] != PROJECT)
SINCE = "2016-01-01T00:00:20Z"
#: what has changed since then, deleted images too
CHANGED = [image for image in EXPECTED + CATALOG["deleted"] if image["updated_at"] >= SINCE[:-1]]
#: what a client asks for, and the images that it must get
FILTERS = [
    ({"name": ONE["name"]}, lambda i: i["name"] == ONE["name"]),
    ({"name": "two words"}, lambda i: i["name"] == "two words"),
    ({"name": "снимок 镜像"}, lambda i: i["name"] == "снимок 镜像"),
    ({"name": OTHERS["name"]}, lambda i: i["name"] == OTHERS["name"]),
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
    ({"min_ram": 512}, lambda i: i["min_ram"] == 512),
    ({"min_disk": 5}, lambda i: i["min_disk"] == 5),
    ({"protected": True}, lambda i: i["protected"]),
    ({"properties": {"os": "linux"}}, lambda i: i["properties"].get("os") == "linux"),
]


def check_members(what, members, shared):
    """Compares the members of each image, and the images shared with each project."""
    for image in EXPECTED:
        told = [(member["member_id"], member["can_share"]) for member in members(image["id"])]
        same(f"{what}: members", told, [tuple(known[1:]) for known in CATALOG["members"] if known[0] == image["id"]])
    for project in (PROJECT, "beta", "gamma", "unseen"):
        told = [(image["image_id"], image["can_share"]) for image in shared(project)]
        same(f"{what}: shared", told, [(known[0], known[2]) for known in CATALOG["members"] if known[1] == project])


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
    same("glanceclient: changes-since", ids(client.images.list(filters={"changes-since": SINCE})), ordered(CHANGED))
    check_members("glanceclient", lambda image: [member.to_dict() for member in client.image_members.list(image=image)],
                  lambda project: [image.to_dict() for image in client.image_members.list(member=project)])
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
    # It would GET the image, of which there is no data.
    same("openstacksdk: find an id", image.find_image(ONE["id"]), None)


def command(*words):
    """Runs a program as it is installed."""
    done = subprocess.run([f"{BIN}/{words[0]}", *words[1:]], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def printed(main, *words):
    """What the entry point of a program prints: to start Python anew for each would take minutes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(words))
    if status:
        sys.exit(f"{words}: {err.getvalue()}")
    return out.getvalue()


def check_openstack_command(options):
    options = [*options, "--os-image-api-version", "1"]

    def listed(*words):
        return json.loads(printed(openstackclient.shell.main, *options, *words, "-f", "json"))
    status, out, err = command("openstack", *options, "image", "list", "--long", "-f", "json")
    if status:
        sys.exit(f"openstack image list: {err}")
    # The command sorts by name itself, and cannot print an image without one.
    by_name = sorted(image["name"] for image in EXPECTED)
    rows = json.loads(out)
    same("openstack image list", sorted(row["ID"] for row in rows), sorted(ids(EXPECTED)))
    same("openstack: names", [row["Name"] for row in rows], by_name)
    sizes = {row["ID"]: row["Size"] for row in rows}
    same("openstack: sizes", sizes[ONE["id"]], ONE["size"])
    for words, test in (
        (["--property", "os=linux"], lambda i: i["properties"].get("os") == "linux"),
        (["--public"], lambda i: i["is_public"]),
        # It asks for `is_private`, which is nothing to an image.
        (["--private"], everything),
    ):
        rows = listed("image", "list", *words)
        same(f"openstack: {words}", sorted(row["ID"] for row in rows), sorted(ids(where(test))))
    rows = listed("image", "list", "--sort", "name:desc")
    same("openstack: sort", [row["Name"] for row in rows], by_name[::-1])
    same("openstack image show", listed("image", "show", ONE["name"])["id"], ONE["id"])


def first_column(table):
    """The first column of a table that is printed, without its head."""
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]


#: options of `glance image-list`, and the images that it must print
GLANCE_FILTERS = [
    (["--name", ONE["name"]], lambda i: i["name"] == ONE["name"]),
    (["--name", "снимок 镜像"], lambda i: i["name"] == "снимок 镜像"),
    (["--status", "queued"], lambda i: i["status"] == "queued"),
    (["--container-format", "ovf"], lambda i: i["container_format"] == "ovf"),
    (["--disk-format", "raw", "--page-size", "3"], lambda i: i["disk_format"] == "raw"),
    (["--size-min", "3000"], lambda i: i["size"] is not None and i["size"] >= 3000),
    (["--size-max", "3000"], lambda i: i["size"] is not None and i["size"] <= 3000),
    (["--property-filter", "os=linux"], lambda i: i["properties"].get("os") == "linux"),
    (["--property-filter", "os=linux", "--property-filter", "os=none"], lambda i: False),
    (["--owner", PROJECT], lambda i: i["owner"] == PROJECT),
    # They change what admins see.
    (["--is-public", "True"], everything),
    (["--is-public", "False"], everything),
    (["--all-tenants"], everything),
]


def check_glance_command(options, token):
    """Once with the options, then with a token, as each start would log in to Keystone anew."""
    def run(*words):
        given_token = [*with_token(token)[1], "--os-image-api-version", "1"]
        return first_column(printed(glanceclient.shell.OpenStackImagesShell().main, *given_token, *words))
    status, out, err = command("glance", *options, "--os-image-api-version", "1", "image-list")
    if status:
        sys.exit(f"glance image-list: {err}")
    same("glance image-list", first_column(out), ordered(EXPECTED, "name", False))
    for words, test in GLANCE_FILTERS:
        same(f"glance: {words}", run("image-list", *words), ordered(where(test), "name", False))
    same("glance: --changes-since", run("image-list", "--changes-since", SINCE), ordered(CHANGED, "name", False))
    for key in SORT_KEYS:
        for direction in ("asc", "desc"):
            listed = run("image-list", "--page-size", str(PAGE), "--sort-key", key, "--sort-dir", direction)
            same(f"glance: {key} {direction}", listed, ordered(EXPECTED, key, direction == "desc"))
    for option, place in (("--image-id", 0), ("--tenant-id", 1)):
        for value in {known[place] for known in CATALOG["members"]}:
            known = [known[0] for known in CATALOG["members"] if known[place] == value]
            same(f"glance member-list {option}", run("member-list", option, value), known)


def check_admin(token):
    """What is not public, and everything, is shown to admins who ask for it."""
    images = glanceclient.Client("1", endpoint=ENDPOINT, token=token).images
    everywhere = EXPECTED + CATALOG["unseen"]
    same("admin: all", ids(images.list(is_public=None)), ordered(everywhere))
    hidden = [image for image in everywhere if not image["is_public"]]
    same("admin: not public", ids(images.list(is_public=False)), ordered(hidden))
    options = ["--os-image-url", ENDPOINT, "--os-auth-token", token, "--os-image-api-version", "1", "image-list"]
    for words, expected in (
        (["--all-tenants"], everywhere),
        (["--is-public", "False"], hidden),
        (["--owner", "another"], [image for image in everywhere if image["owner"] == "another"]),
    ):
        table = printed(glanceclient.shell.OpenStackImagesShell().main, *options, *words)
        same(f"admin: glance {words}", first_column(table), ordered(expected, "name", False))


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
    same("tempest: changes-since", ids(client.list_images(detail=True, **{"changes-since": SINCE})["images"]),
         ordered(CHANGED))
    for key in SORT_KEYS:
        for direction in ("asc", "desc"):
            listed, order = [], {"sort_key": key, "sort_dir": direction, "limit": PAGE}
            while page := ids(client.list_images(**order)["images"]):
                listed += page
                order["marker"] = page[-1]
            same(f"tempest: {key} {direction}", listed, ordered(EXPECTED, key, direction == "desc"))
    members = image_members_client.ImageMembersClient(TempestAuth(token), "image", "RegionOne")
    check_members("tempest", lambda image: members.list_image_members(image)["members"],
                  lambda project: members.list_shared_images(project)["shared_images"])
    head = client.check_image(ONE["id"]).response
    same("tempest: one", (head["x-image-meta-name"], head["x-image-meta-size"]), (ONE["name"], str(ONE["size"])))


def refused(what, ask, error):
    try:
        ask()
    except error as refusal:
        same(f"{what}: a bad token", getattr(refusal, "status_code", None) or getattr(refusal, "code", 401), 401)
        return
    sys.exit(f"{what}: a bad token was let in")


def given(token):
    return session.Session(auth=token_endpoint.Token(ENDPOINT, token))


def with_token(token):
    """The options that give the commands endpoint and token."""
    return (["--os-auth-type", "admin_token", "--os-endpoint", f"{ENDPOINT}/v1", "--os-token", token],
            ["--os-image-url", ENDPOINT, "--os-auth-token", token])


def check_bad_token():
    # They lead to Keystone, where the bad token would be refused first.
    for variable in [name for name in os.environ if name.startswith("OS_")]:
        del os.environ[variable]
    client = glanceclient.Client("1", endpoint=ENDPOINT, token="bad")
    refused("glanceclient", lambda: list(client.images.list()), glanceclient.exc.HTTPUnauthorized)
    cloud = openstack.connection.Connection(
        session=given("bad"), image_api_version="1", image_endpoint_override=ENDPOINT)
    refused("openstacksdk", lambda: list(cloud.image.images()), openstack.exceptions.HttpException)
    tempest = images_client.ImagesClient(TempestAuth("bad"), "image", "")
    refused("tempest", tempest.list_images, tempest_exceptions.Unauthorized)
    openstack_options, glance_options = with_token("bad")
    for words in (["openstack", *openstack_options, "--os-image-api-version", "1", "image", "list"],
                  ["glance", *glance_options, "--os-image-api-version", "1", "image-list"]):
        status, _, err = command(*words)
        is_told = "401" in err or "Invalid OpenStack Identity" in err
        same(f"{words[0]}: a bad token", (status != 0, is_told), (True, True))


if TOKEN:
    check_glanceclient(glanceclient.Client("1", endpoint=ENDPOINT, token=TOKEN))
    for override in (ENDPOINT, f"{ENDPOINT}/v1", f"{ENDPOINT}/v1.1"):
        check_openstacksdk(openstack.connection.Connection(
            session=given(TOKEN), image_api_version="1", image_endpoint_override=override))
    openstack_options, glance_options = with_token(TOKEN)
    check_openstack_command(openstack_options)
    check_glance_command(glance_options, TOKEN)
    check_tempest(TOKEN)
    check_admin(ADMIN)
else:
    cloud = openstack.connect(image_api_version="1")
    check_openstacksdk(cloud)
    check_glanceclient(glanceclient.Client("1", session=cloud.session))
    check_openstack_command([])
    check_glance_command([], cloud.session.get_token())
    check_tempest(cloud.session.get_token())
    admin = openstack.connect(username="admin", password="admin-pass", project_name="admin")
    check_admin(admin.session.get_token())
check_bad_token()
print(f"{checked} answers of the clients agree with the database")
