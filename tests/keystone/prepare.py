"""Makes a project with a member, the service's account, and the image endpoint of the catalog.

    prepare.py KEYSTONE_URL IMAGE_ENDPOINT

Run once for each service under test; prints the id of the member's project.
"""

import sys

import openstack

url, endpoint = sys.argv[1:]
cloud = openstack.connect(auth_url=url, username="admin", password="admin-pass", project_name="admin",
                          user_domain_id="default", project_domain_id="default", region_name="RegionOne")
identity = cloud.identity


def project_with(user, role, name):
    """A user with a role in a project, each made where it is missing."""
    project = identity.find_project(name) or identity.create_project(name=name, domain_id="default")
    person = identity.find_user(user) or identity.create_user(
        name=user, password=f"{user}-pass", domain_id="default")
    identity.assign_project_role_to_user(project, person, identity.find_role(role))
    return project.id


project_with("glance", "admin", "service")
service = identity.find_service("image") or identity.create_service(type="image", name="image")
for old in identity.endpoints(service_id=service.id):
    identity.delete_endpoint(old)
for interface in ("public", "internal", "admin"):
    identity.create_endpoint(service_id=service.id, interface=interface, region_id="RegionOne", url=endpoint)
print(project_with("alice", "member", "alpha"))
