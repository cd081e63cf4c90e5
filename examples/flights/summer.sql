-- How late did flights arrive in July, by the airport that they left from?
SELECT origin, count(*) AS flights, round(avg(arr_delay), 1) AS average_delay
FROM actuals
WHERE time_hour >= TIMESTAMP '2013-07-01 00:00:00' AND time_hour < TIMESTAMP '2013-08-01 00:00:00'
GROUP BY origin
ORDER BY origin
