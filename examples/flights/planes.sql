-- In June, who built the planes that flew farthest, and where did they go most?
SELECT p.manufacturer, o.name AS destination, count(*) AS flights, sum(s.distance) AS miles
FROM schedule s
JOIN actuals a ON a.time_hour = s.time_hour AND a.carrier = s.carrier
              AND a.flight = s.flight AND a.origin = s.origin
JOIN planes p ON p.tailnum = a.tailnum
JOIN airports o ON o.faa = s.dest
WHERE s.time_hour >= TIMESTAMP '2013-06-01 00:00:00' AND s.time_hour < TIMESTAMP '2013-07-01 00:00:00'
  AND a.dep_time IS NOT NULL
GROUP BY p.manufacturer, o.name
ORDER BY miles DESC
LIMIT 5;
