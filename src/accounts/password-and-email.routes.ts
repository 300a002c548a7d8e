import { Router } from 'express';
import { type ChangeEmailDependencies, changeEmailRoutes } from './change-email.routes.ts';
import { type ExpiredPasswordPages, expiredPasswordRoutes } from './expired-password.routes.ts';
import { type LoginPlaceDependencies, loginPlace } from './login.routes.ts';
import { type PasswordDependencies, passwordRoutes } from './password.routes.ts';
import { type PasswordResetDependencies, passwordResetRoutes } from './password-reset.routes.ts';

export type PasswordAndEmailDependencies = PasswordDependencies &
  PasswordResetDependencies &
  ChangeEmailDependencies &
  LoginPlaceDependencies & { expiredPassword: ExpiredPasswordPages };

/** All that changes the two things that people type to sign in. */
export function passwordAndEmailRoutes(dependencies: PasswordAndEmailDependencies): Router {
  return Router().use(
    passwordRoutes(dependencies),
    passwordResetRoutes(dependencies),
    changeEmailRoutes(dependencies),
    expiredPasswordRoutes({ ...dependencies, placeOf: (req, res) => loginPlace(dependencies, req, res) }),
  );
}
