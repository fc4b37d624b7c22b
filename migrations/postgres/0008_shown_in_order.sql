-- What a project sees are public images, which have an order of their own, and private ones. Its own
-- lie in the order of their creation here.
DROP INDEX images_by_owner;
CREATE INDEX images_by_owner ON images (owner, deleted, created_at, id) WHERE NOT is_public;

-- Who asks for a name is led by it, and names are long.
DROP INDEX images_by_created_at;
CREATE INDEX images_by_created_at ON images (deleted, created_at, id)
    INCLUDE (status, disk_format, container_format, size, updated_at);
