-- Walks in the order of names and of creation pass over rows without looking them up.
DROP INDEX images_by_name;
CREATE INDEX images_by_name
    ON images (name, created_at, id, status, deleted, disk_format, container_format, size, updated_at);

-- Live images are found by images_by_equalities, which begins with `deleted`, where they are few,
-- and by images_by_created_at where they are many.
DROP INDEX images_live;

-- The few images that changed long after they were created: with what was created since, all that
-- `changes-since` can let through.
CREATE INDEX images_changed_late
    ON images (created_at, id, name, status, deleted, disk_format, container_format, size, updated_at)
    WHERE updated_at >= date(created_at, '+2 days');
CREATE INDEX images_changed_late_by_name
    ON images (name, created_at, id, status, deleted, disk_format, container_format, size, updated_at)
    WHERE updated_at >= date(created_at, '+2 days');
