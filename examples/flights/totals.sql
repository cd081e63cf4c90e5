SELECT count(*) AS flights,
       sum(s.distance) AS distance,
       sum(a.arr_delay) AS arrival_delay,
       count(a.dep_time) AS departed
FROM schedule s
JOIN actuals a ON a.time_hour = s.time_hour AND a.carrier = s.carrier
              AND a.flight = s.flight AND a.origin = s.origin;
