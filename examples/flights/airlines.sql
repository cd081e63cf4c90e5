-- Which airlines arrive late, and how often do they cancel?
SELECT l.name AS airline,
       count(*) AS flights,
       round(avg(a.arr_delay), 1) AS average_delay,
       round(100.0 * (count(*) - count(a.dep_time)) / count(*), 1) AS cancelled_percent
FROM schedule s
JOIN actuals a ON a.time_hour = s.time_hour AND a.carrier = s.carrier
              AND a.flight = s.flight AND a.origin = s.origin
JOIN airlines l ON l.carrier = s.carrier
GROUP BY l.name
ORDER BY average_delay DESC, airline
LIMIT 5;
