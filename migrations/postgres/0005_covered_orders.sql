-- Walks in the order of statuses and formats, and along the images of one of them, pass over rows
-- without looking them up. Names are left out for their length: who asks for one is led by it.
DROP INDEX images_by_status;
CREATE INDEX images_by_status ON images (status, created_at, id)
    INCLUDE (deleted, disk_format, container_format, size, updated_at);
DROP INDEX images_by_container_format;
CREATE INDEX images_by_container_format ON images (container_format NULLS FIRST, created_at, id)
    INCLUDE (status, deleted, disk_format, size, updated_at);
DROP INDEX images_by_disk_format;
CREATE INDEX images_by_disk_format ON images (disk_format NULLS FIRST, created_at, id)
    INCLUDE (status, deleted, container_format, size, updated_at);

-- The other equalities beside a name have an index that begins with it.
DROP INDEX images_by_equalities;
CREATE INDEX images_by_equalities
    ON images (deleted, coalesce(disk_format, ''), coalesce(container_format, ''), status)
    INCLUDE (created_at, id, disk_format, container_format, size, updated_at);

-- It leads to the images of an owner, and never to their order.
DROP INDEX images_by_owner;
CREATE INDEX images_by_owner ON images (owner);
